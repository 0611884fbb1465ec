// A row per page, its image with boxes beside its text. Rows far outside the window hold neither.

import * as api from "./api.js";
import { announce, btn, copy, dialog, dim, h, plural, sanitised, svg, toast } from "./dom.js";
import { finished } from "./history.js";
import { pageOptions } from "./uploads.js";

const FORMATS = [["md", "Markdown"], ["json", "JSON"], ["html", "HTML"], ["txt", "Text"], ["zip", "Zip with figures"]];
const ROWS_AT_ONCE = 200;
const say = (error) => toast(error.message, "bad");
const isFault = ({ status }) => status === "failed" || status === "degraded";

export class Documents {
	constructor(main, job, { onJob, onGone, home }) {
		Object.assign(this, { main, job, onJob, onGone, home });
		Object.assign(this, { abort: new AbortController(), rows: new Map(), view: "text", boxes: true, at: 1 });
		this.main.append(h("p", { class: "empty dim" }, "Loading …"));
		this.load();
	}

	close() {
		this.abort.abort();
		this.near?.disconnect();
		this.inView?.disconnect();
		this.strip?.disconnect();
		for (const row of this.rows.values()) row.empty();
	}

	get path() { return `/api/v1/jobs/${this.job}`; }

	async fetch() {
		try {
			this.data = await api.get(this.path, {}, this.abort.signal);
		} catch (error) {
			if (error.name !== "AbortError") this.lost(error);
			return false;
		}
		this.onJob(this.data);
		return true;
	}

	async load() {
		if (!(await this.fetch())) return;
		document.title = `${this.data.input.filename || "Document"} · OCR`;
		this.draw();
		if (!finished(this.data.status)) this.listen();
	}

	lost(error) {
		const gone = error.status === 404 || error.status === 410;
		if (gone) this.onGone();
		this.main.replaceChildren(h("section", { class: "empty" },
			h("h1", {}, gone ? "This document is no longer here" : "This document cannot be shown"),
			h("p", {}, gone ? "It was deleted, its time has run out, or it belongs to another key." : error.message),
			h("p", {}, btn({ onclick: () => (gone ? this.home() : this.load()) }, gone ? "Back" : "Try again"))));
	}

	draw() {
		this.progress = h("progress", { max: 1, value: 0, "aria-label": "Pages that are done" });
		this.note = h("p", { class: "note", role: "status" });
		this.actions = h("div", { class: "row" });
		this.thumbs = h("nav", { class: "thumbs", "aria-label": "Pages" });
		this.pages = h("div", { class: "pages" });
		const tab = (name, label) => btn({ "data-tab": name, onclick: () => this.tab(name) }, label);
		this.main.replaceChildren(
			h("header", { class: "doc" }, h("h1", { title: this.data.input.filename }, this.data.input.filename || "Document"),
				this.progress, this.note, this.actions,
				h("div", { class: "tabs" }, tab("page", "Page"), tab("text", "Text"))),
			h("div", { class: "body" }, this.thumbs, this.pages));
		this.tab("page");
		for (const name of ["wheel", "keydown", "pointerdown"]) addEventListener(name, () => (this.target = null), { signal: this.abort.signal });
		this.near = new IntersectionObserver((entries) => entries.forEach((entry) => {
			const row = this.rows.get(Number(entry.target.dataset.page));
			if (entry.isIntersecting) row.show(); else row.empty();
		}), { rootMargin: "120% 0px" });
		this.strip = new IntersectionObserver((entries) => entries.forEach((entry) => {
			const row = this.rows.get(Number(entry.target.textContent));
			row.thumbShown = entry.isIntersecting;
			row.thumbnail();
		}), { root: this.thumbs, rootMargin: "50% 0px" });
		this.inView = new IntersectionObserver((entries) => entries.forEach((entry) => {
			if (entry.isIntersecting) this.mark(Number(entry.target.dataset.page));
		}), { rootMargin: "-40% 0px -55% 0px" });
		this.fill();
		this.addRows(numbersOf(this.data)).then(() => this.goTo(location.hash));
	}

	async addRows(numbers) {
		for (let from = 0; from < numbers.length && !this.abort.signal.aborted; from += ROWS_AT_ONCE) {
			const rows = numbers.slice(from, from + ROWS_AT_ONCE).map((number) => new Row(this, number));
			this.pages.append(...rows.map((row) => row.element));
			this.thumbs.append(...rows.map((row) => row.thumb));
			for (const row of rows) {
				this.rows.set(row.number, row);
				this.near.observe(row.element);
				this.inView.observe(row.element);
				this.strip.observe(row.thumb);
			}
			await new Promise((resolve) => setTimeout(resolve));
		}
		this.summaries();
	}

	fill() {
		const { status, progress, error, queue } = this.data;
		const over = finished(status);
		this.progress.hidden = over;
		this.progress.max = progress.pages_total;
		this.progress.value = progress.pages_done + progress.pages_failed;
		const faults = this.data.pages.filter(isFault).length;
		const words = {
			queued: queue ? `Waiting, place ${queue.position}` : "Waiting",
			processing: `Reading: ${progress.pages_done + progress.pages_failed} of ${plural(progress.pages_total, "page")}`,
			succeeded: `${plural(progress.pages_total, "page")}`,
			partial: `${plural(progress.pages_total, "page")}, ${faults} to check`,
			failed: error?.detail ?? "Failed", cancelled: "Cancelled",
		};
		this.note.textContent = words[status] + (this.data.engine ? ` · ${this.data.engine}` : "");
		this.note.classList.toggle("bad", status === "failed");
		const button = (label, onclick, kind = "") => btn({ class: kind, onclick: () => onclick().catch(say) }, label);
		const views = h("div", { class: "segments", role: "group", "aria-label": "View" }, [["text", "Text"], ["markdown", "Markdown"], ["json", "JSON"]].map(([name, label]) =>
			btn({ "aria-pressed": String(this.view === name), onclick: () => this.setView(name) }, label)));
		this.actions.replaceChildren(views, button("Copy", () => this.copyAll()), ...(over ? [this.downloads()] : []));
		if (!api.readOnly) this.actions.append(
			over ? button("Share", () => this.share()) : button("Cancel", () => api.send("POST", `${this.path}/cancel`)),
			button("Delete", () => this.remove(), "danger"));
	}

	tab(name) {
		this.main.dataset.tab = name;
		for (const button of this.main.querySelectorAll("[data-tab]")) button.setAttribute("aria-pressed", String(button.dataset.tab === name));
	}

	setView(view) {
		this.view = view;
		this.fill();
		for (const row of this.rows.values()) row.redraw();
	}

	downloads() {
		const menu = h("details", { class: "menu" }, h("summary", { class: "button" }, "Download"), h("ul", {}, FORMATS.map(([format, label]) => h("li", {},
			h("a", { href: `${this.path}/result?format=${format}`, "data-format": format, onclick: async (event) => {
				event.preventDefault();
				menu.open = false;
				const url = await api.link(this.job, `${this.path}/result`, { format });
				const name = `${(this.data.input.filename || "document").replace(/\.[^.]*$/, "")}.${format}`;
				h("a", { href: url.href, download: name }).click();
			} }, label)))));
		return menu;
	}

	async copyAll() {
		copy(await api.text(`${this.path}/result`, { format: this.view === "text" ? "txt" : this.view === "json" ? "json" : "md" }), "The document is copied");
	}

	async share() {
		const { url, expires_at: until } = await api.send("POST", `${this.path}/share`, {});
		const field = h("input", { readOnly: true, value: url, "aria-label": "Link", class: "wide", onfocus: (event) => event.target.select() });
		const answer = await dialog("Share this document", h("div", {},
			h("p", {}, `Anyone with this link can read this document until ${new Date(until).toLocaleString()}.`), field),
			[["revoke", "Revoke all links", "danger"], ["close", "Close"], ["copy", "Copy link", "primary"]]);
		if (answer === "copy") copy(url, "The link is copied");
		if (answer === "revoke") { await api.send("DELETE", `${this.path}/share`); toast("No link works any more"); }
	}

	async remove() {
		const answer = await dialog("Delete this document?", h("p", {}, "Its text and images are deleted for good."), [["close", "Keep"], ["delete", "Delete", "danger"]]);
		if (answer !== "delete") return;
		await api.send("DELETE", this.path);
		this.onGone();
		this.home();
	}

	listen() {
		api.follow(`${this.path}/events`, (event) => this.heard(event), { signal: this.abort.signal })
			.then(() => !this.abort.signal.aborted && this.reload(), (error) => this.lost(error));
	}

	heard({ name, data }) {
		const row = this.rows.get(data.page);
		if (name === "snapshot") return this.reload();
		if (name === "status") { this.data.status = data.status; this.fill(); }
		if (name === "queue") { this.data.queue = data; this.fill(); }
		if (name === "page.started") row?.started();
		if (name === "token") row?.token(data.text);
		if (name === "page.restarted") row?.restarted();
		if (name === "page.completed" || name === "page.failed") {
			const { progress, page, ...summary } = data;
			this.data.progress = progress;
			this.data.pages = [...this.data.pages.filter((one) => one.number !== page), { number: page, ...summary }];
			row?.setSummary({ number: page, ...summary });
			announce(`Page ${page} is done`);
			this.fill();
		}
	}

	async reload() {
		if (!(await this.fetch())) return;
		this.fill();
		this.summaries();
	}

	summaries() {
		for (const page of this.data.pages) this.rows.get(page.number)?.setSummary(page);
	}

	mark(number) {
		this.at = number;
		this.thumbs.querySelector("[aria-current]")?.removeAttribute("aria-current");
		const thumb = this.rows.get(number)?.thumb;
		thumb?.setAttribute("aria-current", "true");
		if (thumb) this.thumbs.scrollTo({ top: thumb.offsetTop - this.thumbs.clientHeight / 2 });
	}

	goTo(hash) {
		const wanted = new URLSearchParams(hash.slice(1));
		const row = this.rows.get(Number(wanted.get("page")));
		if (!row) return;
		this.target = wanted.has("block") ? null : row.element;
		row.element.scrollIntoView();
		if (wanted.has("block")) row.show().then(() => row.select(Number(wanted.get("block")), { focus: true }));
	}

	key(key) {
		if (key === "j" || key === "k") {
			const numbers = [...this.rows.keys()];
			const next = numbers[numbers.indexOf(this.at) + (key === "j" ? 1 : -1)];
			if (next !== undefined) { this.rows.get(next).element.scrollIntoView(); this.mark(next); }
			return true;
		}
		if (key === "b") { this.boxes = !this.boxes; this.main.classList.toggle("no-boxes", !this.boxes); return true; }
		if (key === "c") { this.rows.get(this.at)?.copy(); return true; }
		return false;
	}
}

function numbersOf(job) {
	return job.input.page_range.split(",").flatMap((part) => {
		const [first, last = first] = part.split("-").map(Number);
		return Array.from({ length: last - first + 1 }, (_, i) => first + i);
	});
}

class Row {
	constructor(doc, number) {
		Object.assign(this, { doc, number, summary: null, page: null, shown: false, loading: null, streamed: "", url: null });
		this.image = h("div", { class: "image" });
		this.text = h("div", { class: "text" });
		this.state = h("span", { class: "state" }, "waiting");
		this.tools = h("span", { class: "tools" });
		this.element = h("article", { class: "page", "data-page": String(number), id: `page-${number}`, "aria-label": `Page ${number}` },
			h("h2", {}, h("a", { href: `#page=${number}` }, `Page ${number}`), this.state, this.tools), this.image, this.text);
		this.thumb = h("a", { class: "thumb", href: `#page=${number}`, "aria-label": `Page ${number}` }, h("span", {}, String(number)));
	}

	setSummary(summary) {
		const version = [summary.status, summary.reason, summary.attempts].join(), changed = version !== this.version;
		this.version = version;
		this.summary = summary;
		if (!changed) return;
		this.streamed = "";
		this.page = null;
		this.element.dataset.status = this.thumb.dataset.status = summary.status;
		const share = summary.missing ? `, about ${Math.round(summary.missing * 100)} % missing` : "";
		this.state.textContent = summary.status === "ok" ? "" : summary.status + (summary.reason ? `: ${summary.reason}${share}` : "");
		const tool = (label, onclick) => btn({ class: "plain", onclick: () => onclick().catch(say) }, label);
		this.tools.replaceChildren(!api.readOnly && isFault(summary) ? tool("Retry", () => this.retry()) : "", tool("Copy", () => this.copy()));
		if (this.shown) this.load();
		this.thumbnail();
	}

	started() { this.state.textContent = "reading"; this.element.dataset.status = this.thumb.dataset.status = "reading"; }
	restarted() { this.streamed = ""; this.state.textContent = "reading again"; this.drawStream(); }

	token(text) {
		this.streamed += text;
		if (!this.drawing) this.drawing = requestAnimationFrame(() => { this.drawing = 0; this.drawStream(); });
	}

	drawStream() {
		if (!this.shown || this.page || !(this.stream || this.streamed)) return;
		if (!this.stream) { this.stream = h("pre", { class: "stream" }); this.text.replaceChildren(this.stream); }
		this.stream.textContent = this.streamed;
	}

	async show() {
		this.shown = true;
		if (this.summary) return this.load();
		this.drawStream();
	}

	empty() {
		if (!this.shown) return;
		this.shown = false;
		this.element.style.minHeight = this.page ? `${this.element.offsetHeight}px` : "";
		if (this.url) URL.revokeObjectURL(this.url);
		this.url = this.page = this.stream = null;
		this.image.replaceChildren();
		this.text.replaceChildren();
	}

	load() {
		this.loading ??= this.fetch().catch((error) => {
			if (error.name !== "AbortError") this.text.replaceChildren(h("p", { class: "bad" }, error.message));
			return true;
		}).then((failed) => {
			this.loading = null; // the page may have been read again meanwhile
			if (!failed && this.shown && !this.page) return this.load();
		});
		return this.loading;
	}

	async fetch() {
		if (this.page) return;
		const signal = this.doc.abort.signal, path = `${this.doc.path}/pages/${this.number}`;
		const page = await api.get(path, { format: "json", html: "true" }, signal);
		if (!this.shown) return;
		this.page = page;
		this.stream = null;
		this.redraw();
		const picture = await api.blob(`${path}/image`, {}, signal).catch((error) => (error.name === "AbortError" ? Promise.reject(error) : null));
		if (!this.shown || this.page !== page) return;
		this.drawImage(picture);
	}

	drawImage(picture) {
		const { width, height, blocks } = this.page;
		if (!picture) return this.image.replaceChildren(dim("No image of this page is kept."));
		if (this.url) URL.revokeObjectURL(this.url);
		this.url = URL.createObjectURL(picture);
		const layer = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "boxes", "aria-hidden": "true" });
		blocks.forEach((block, i) => {
			const [x1, y1, x2, y2] = block.bbox;
			const box = svg("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, "data-block": i, "data-type": block.type });
			box.addEventListener("mouseenter", () => this.hover(i, true));
			box.addEventListener("mouseleave", () => this.hover(i, false));
			box.addEventListener("click", () => { if (matchMedia("(max-width: 800px)").matches) this.doc.tab("text"); this.select(i, { scroll: "text" }); });
			layer.append(box);
		});
		const picturePart = h("img", { src: this.url, alt: `Image of page ${this.number}`, width, height, decoding: "async" });
		this.image.replaceChildren(h("div", { class: "frame" }, picturePart, layer));
		this.element.style.minHeight = "";
		this.doc.target?.scrollIntoView(); // rows above it have grown
	}

	// Held only near the part of the strip that is seen.
	async thumbnail() {
		const held = this.thumb.querySelector("img");
		if (!this.thumbShown) return held?.remove();
		if (held || !this.summary || this.asked) return;
		this.asked = true;
		const small = await api.blob(`${this.doc.path}/pages/${this.number}/image`, { width: 120 }, this.doc.abort.signal).catch(() => null);
		this.asked = false;
		if (!small || !this.thumbShown) return;
		const url = URL.createObjectURL(small);
		this.thumb.prepend(h("img", { src: url, alt: "", onload: () => URL.revokeObjectURL(url) }));
	}

	redraw() {
		if (!this.page) return;
		const view = this.doc.view;
		if (view === "markdown") return this.text.replaceChildren(h("pre", {}, this.page.markdown));
		if (view === "json") return this.text.replaceChildren(h("pre", {}, JSON.stringify({ ...this.page, html: undefined, blocks: this.page.blocks.map(({ html, ...block }) => block) }, null, 2)));
		if (!this.page.blocks.length) return this.text.replaceChildren(this.page.html ? h("div", {}, sanitised(this.page.html)) : dim(this.summary?.reason ?? "This page has no text."));
		this.text.replaceChildren(...this.page.blocks.map((block, i) => this.block(block, i)));
		this.figures();
	}

	block(block, i) {
		const low = block.confidence !== undefined && block.confidence !== null && block.confidence < 0.8;
		const part = h("div", { class: `block${low ? " low" : ""}`, "data-block": String(i), "data-type": block.type, tabIndex: -1,
			title: low ? `Confidence ${Math.round(block.confidence * 100)} %` : null,
			onmouseenter: () => this.hover(i, true), onmouseleave: () => this.hover(i, false),
			onclick: (event) => { if (!event.target.closest("a") && !String(getSelection())) this.select(i, { scroll: "image" }); },
			ondblclick: () => !api.readOnly && this.edit(i) });
		part.append(sanitised(block.html ?? ""));
		const tools = h("span", { class: "block-tools" });
		if (block.edited) tools.append(h("span", { class: "edited", title: block.original ?? "" }, "edited"));
		if (!api.readOnly) tools.append(btn({ class: "plain", "aria-label": `Edit block ${i + 1} of page ${this.number}`, onclick: (event) => { event.stopPropagation(); this.edit(i); } }, "✎"));
		part.append(tools);
		return part;
	}

	figures() {
		for (const image of this.text.querySelectorAll("img[src]")) {
			const name = new URL(image.getAttribute("src"), location.origin).pathname.split("/").pop();
			image.removeAttribute("src");
			api.blob(`${this.doc.path}/images/${name}`, {}, this.doc.abort.signal).then((jpeg) => {
				const url = URL.createObjectURL(jpeg);
				image.onload = () => URL.revokeObjectURL(url);
				image.src = url;
			}, () => image.replaceWith(h("span", { class: "dim" }, "figure not available")));
		}
	}

	hover(i, on) {
		for (const part of this.element.querySelectorAll(`[data-block="${i}"]`)) part.classList.toggle("hover", on);
	}

	select(i, { scroll, focus } = {}) {
		for (const part of this.doc.main.querySelectorAll(".selected")) part.classList.remove("selected");
		for (const part of this.element.querySelectorAll(`[data-block="${i}"]`)) part.classList.add("selected");
		history.replaceState({}, "", `${location.search || location.pathname}#page=${this.number}&block=${i}`);
		const target = this.element.querySelector(`.${scroll === "image" ? "image" : "text"} [data-block="${i}"]`);
		target?.scrollIntoView({ block: "nearest" });
		if (focus) target?.focus?.({ preventScroll: true });
	}

	async edit(i) {
		const block = this.page.blocks[i];
		const area = h("textarea", { value: block.text, rows: Math.min(20, block.text.split("\n").length + 2), "aria-label": "Text of the block, in Markdown" });
		const answer = await dialog("Correct this block", h("div", {}, area, block.original && dim("The engine read: ", block.original)),
			[["close", "Cancel"], block.edited && ["reset", "Use the engine's text"], ["save", "Save", "primary"]].filter(Boolean));
		if (answer === "close") return;
		const path = `${this.doc.path}/pages/${this.number}/blocks/${i}`;
		try {
			if (answer === "save") await api.send("PUT", path, { text: area.value });
			else await api.send("DELETE", path);
			this.page = null;
			await this.load();
		} catch (error) {
			say(error);
		}
	}

	async retry() {
		const form = h("div", { class: "options" }, pageOptions(await api.get("/models").catch(() => ({}))));
		const answer = await dialog(`Read page ${this.number} again`, h("div", {}, h("p", {}, "The new text is a document of its own; this one stays as it is."), form),
			[["close", "Cancel"], ["retry", "Read again", "primary"]]);
		if (answer !== "retry") return;
		const given = [...form.querySelectorAll("[name]")].filter((field) => field.value).map((field) => [field.name, field.value]);
		const job = await api.send("POST", `${this.doc.path}/pages/${this.number}/retry`, Object.fromEntries(given));
		location.assign(`/?job=${job.id}`);
	}

	async copy() {
		const format = this.doc.view === "text" ? "txt" : this.doc.view === "json" ? "json" : "md";
		copy(await api.text(`${this.doc.path}/pages/${this.number}`, { format }), `Page ${this.number} is copied`);
	}
}
