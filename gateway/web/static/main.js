// `?job=ID#page=7&block=3` opens a document at a block, `#service` the operators' view, `/s/TOKEN` a shared document.

import * as api from "./api.js";
import { $, announce, dialog, dim, h, toast } from "./dom.js";
import { Documents } from "./document.js";
import { History } from "./history.js";
import { openService } from "./service.js";
import { Uploads } from "./uploads.js";

const main = $("#main");
const state = { models: null, view: null, events: null };

const open = (job, anchor = "", replace = false) => {
	const url = `/?job=${job}${anchor}`;
	history[replace ? "replaceState" : "pushState"]({}, "", url);
	route();
};

const files = new History($("#jobs"), { open });
const uploads = new Uploads($("#uploads"), { onJob: (job) => { files.put(job); if (!current()) open(job.id); } });

const current = () => new URLSearchParams(location.search).get("job");

function close() {
	state.view?.close();
	state.view = null;
	main.replaceChildren();
}

function route() {
	const job = current();
	if (job && state.view?.job === job) return state.view.goTo(location.hash);
	close();
	files.select(job);
	document.body.classList.toggle("has-document", Boolean(job));
	if (location.hash === "#service") state.view = openService(main);
	else if (job) state.view = new Documents(main, job, { onJob: (found) => files.put(found), onGone: () => files.remove(job), home });
	else welcome();
}

function home() {
	history.pushState({}, "", "/");
	route();
}

function welcome() {
	main.append(h("section", { class: "empty" },
		h("h1", {}, "Images and PDFs to Markdown"),
		h("p", {}, "Drop a file anywhere in this window. Each page appears beside its image as soon as it is done."),
		dim(state.models ? `This service reads with ${state.models.model}.` : "")));
}

async function checkHealth() {
	const box = $("#status");
	try {
		const ready = await api.get("/health").then((health) => health.engine_ready, (error) => {
			if (error.status !== 503) throw error;
		});
		if (ready && !state.models) state.models = await api.get("/models").catch(() => null);
		box.dataset.state = ready ? "ready" : "waiting";
		const waiting = files.waiting();
		const queue = waiting.count ? ` · ${waiting.count} waiting${waiting.eta ? `, about ${waiting.eta}` : ""}` : "";
		box.textContent = (ready ? `Ready${state.models ? ` · ${state.models.engine}` : ""}` : "No worker is ready") + queue;
	} catch {
		box.dataset.state = "away";
		box.textContent = "The service cannot be reached; trying again";
	}
}

async function askForKey(message = "") {
	const field = h("input", { type: "password", name: "key", autocomplete: "off", value: api.getKey(), autofocus: true });
	const answer = await dialog("API key", h("div", {},
		message && h("p", { class: "bad" }, message),
		h("p", {}, "The key stays in this tab until you close it."),
		h("label", {}, "Key ", field)), [["close", "Cancel"], ["forget", "Forget"], ["use", "Use this key", "primary"]]);
	if (answer === "close") return;
	api.setKey(answer === "use" ? field.value.trim() : "");
	start();
}

async function start() {
	state.events?.abort();
	state.events = new AbortController();
	try {
		await files.load();
	} catch (error) {
		if (error.status === 401) return askForKey(api.getKey() ? "This key is not accepted." : "This service needs a key.");
		files.fail(error);
	}
	state.models = await api.get("/models").catch(() => null);
	uploads.setModels(state.models);
	route();
	checkHealth();
	api.follow("/api/v1/events", (event) => {
		if (event.name === "ping") return;
		files.heard(event.data.job, event.data.event, event.data.data);
	}, { signal: state.events.signal, onState: (up) => { if (!up) checkHealth(); else files.refresh(); } })
		.catch((error) => { if (error.status === 401) askForKey("This key is not accepted."); });
}

const take = (list) => { if (list.length && !api.readOnly) uploads.add(list); };

async function dropped(event) {
	const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
	if (!entries.length) return take([...event.dataTransfer.files]);
	const found = [];
	const walk = async (entry) => {
		if (entry.isFile) return found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
		const reader = entry.createReader();
		for (let batch; (batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;)
			for (const inner of batch) await walk(inner);
	};
	for (const entry of entries) await walk(entry);
	take(found);
}

function listen() {
	addEventListener("popstate", route);
	addEventListener("hashchange", route);
	addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
	addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
	addEventListener("drop", (event) => {
		event.preventDefault();
		document.body.classList.remove("dragging");
		dropped(event).catch((error) => toast(error.message, "bad"));
	});
	addEventListener("paste", (event) => {
		if (event.target.closest("input, textarea")) return;
		take([...event.clipboardData.files]);
	});
	for (const id of ["files", "camera"]) $(`#${id}`).addEventListener("change", (event) => {
		take([...event.target.files]);
		event.target.value = "";
	});
	$("#drop").addEventListener("submit", (event) => event.preventDefault());
	let typing;
	$("#query").addEventListener("input", (event) => {
		clearTimeout(typing);
		typing = setTimeout(() => files.search(event.target.value.trim()), 250);
	});
	$("#search").addEventListener("submit", (event) => { event.preventDefault(); files.search($("#query").value.trim()); });
	$("#key-button").addEventListener("click", () => askForKey());
	$("#help-button").addEventListener("click", help);
	document.addEventListener("click", (event) => {
		const anchor = event.target.closest("a[data-nav]");
		if (!anchor || event.metaKey || event.ctrlKey) return;
		event.preventDefault();
		history.pushState({}, "", anchor.getAttribute("href"));
		route();
	});
	addEventListener("keydown", (event) => {
		if (event.target.closest("input, textarea, select, dialog, [contenteditable]") || event.metaKey || event.ctrlKey || event.altKey) return;
		if (event.key === "/") { event.preventDefault(); $("#query").focus(); }
		else if (event.key === "?") help();
		else if (state.view?.key?.(event.key)) event.preventDefault();
	});
}

function help() {
	const keys = { j: "next page", k: "previous page", b: "boxes on or off", c: "copy the page's text", "/": "search", "?": "this list" };
	dialog("Keyboard", h("dl", { class: "keys" }, Object.entries(keys).flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));
}

function openShared() {
	document.body.classList.add("shared");
	api.get("/api/v1/shared").then(({ job }) => {
		state.view = new Documents(main, job, { onJob: () => {}, onGone: () => {}, home: () => {} });
		document.body.classList.add("has-document");
	}, (error) => main.append(h("section", { class: "empty" }, h("h1", {}, "This link does not work"),
		h("p", {}, error.status === 0 ? error.message : "It has expired, or its owner has revoked it."))));
}

listen();
if (api.readOnly) openShared();
else {
	start();
	setInterval(checkHealth, 10000);
	api.call("GET", "/api/v1/service").then(() => ($("#service-link").hidden = false), () => {});
}
addEventListener("offline", () => announce("You are offline"));
