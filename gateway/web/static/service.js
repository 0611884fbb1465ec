// The operators' view, refreshed every few seconds.

import * as api from "./api.js";
import { dim, duration, h, plural } from "./dom.js";

const REFRESH_MS = 3000;

export function openService(main) {
	let timer;
	const box = h("section", { class: "service" }, h("h1", {}, "Service"), dim("Loading …"));
	main.replaceChildren(box);
	const refresh = async () => {
		try {
			draw(box, await api.get("/api/v1/service"));
		} catch (error) {
			box.replaceChildren(h("h1", {}, "Service"), h("p", { class: "bad" }, error.status === 403 ? "This view needs a key with the scope admin." : error.message));
		}
		timer = setTimeout(refresh, REFRESH_MS);
	};
	refresh();
	return { close: () => clearTimeout(timer) };
}

const card = (label, value, note = "") => h("div", { class: "card" }, dim(label), h("p", { class: "figure" }, value), h("p", { class: "note" }, note));
const bytes = (size) => (size >= 2 ** 30 ? `${(size / 2 ** 30).toFixed(1)} GB` : `${Math.round(size / 2 ** 20)} MB`);
const share = (part) => (part === null ? "no limit" : `${Math.round(part * 100)} %`);

function table(caption, heads, rows, empty) {
	if (!rows.length) return h("section", {}, h("h2", {}, caption), dim(empty));
	return h("section", {}, h("h2", {}, caption), h("div", { class: "scroll" }, h("table", {},
		h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
		h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))))));
}

function draw(box, service) {
	const { queue, workers, store, failures, webhooks, links } = service;
	box.replaceChildren(
		h("h1", {}, "Service"),
		h("div", { class: "cards" },
			card("Workers ready", String(workers.filter((worker) => worker.ready).length), `of ${workers.length}`),
			card("Pages per second", queue.pages_per_second === null ? "idle" : queue.pages_per_second.toFixed(2), "in the last minute"),
			card("Waiting", plural(queue.jobs, "job"), `${queue.pages} pages${queue.oldest_seconds ? `, oldest ${duration(queue.oldest_seconds)}` : ""}`),
			card("Store memory", share(store.memory_share), `limit ${share(store.memory_limit)}`),
			card("Payload room", store.payload_free === null ? "in the store" : bytes(store.payload_free), "free")),
		table("Workers", ["Name", "State", "Engine", "Jobs", "Pages reading", "Slots", "GPU memory", "Since"], workers.map((worker) =>
			[worker.name, worker.state, worker.engine, worker.jobs, worker.pages_reading, worker.slots, worker.gpu_memory === null ? "-" : bytes(worker.gpu_memory), new Date(worker.started_at).toLocaleString()]), "No worker reports."),
		table("Failures of the last jobs", ["Reason", "Jobs and pages"], failures.map((one) => [one.reason, one.count]), "None."),
		table("Last webhooks", ["Time", "Event", "Receiver", "State", "Attempts"], webhooks.map((one) => [new Date(one.at).toLocaleString(), one.event, one.host, one.status, one.attempts]), "None."),
		h("p", {}, Object.entries(links).flatMap(([name, url]) => [h("a", { href: url, target: "_blank", rel: "noopener" }, name), " "])));
}
