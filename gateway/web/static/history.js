// The caller's jobs by day; search replaces the list by what it finds.

import * as api from "./api.js";
import { btn, dim, duration, h, plural } from "./dom.js";

const CHUNK = 50;
const WORDS = { queued: "waiting", processing: "reading", succeeded: "done", partial: "some pages failed", failed: "failed", cancelled: "cancelled" };
export const finished = (status) => !["queued", "processing"].includes(status);

export class History {
	constructor(box, { open }) {
		Object.assign(this, { box, open, jobs: new Map(), rows: new Map(), cursor: null, selected: null, asking: new Set(), query: "" });
	}

	async load(cursor) {
		if (!cursor) {
			this.box.replaceChildren(dim("Loading …"));
			this.jobs.clear();
		}
		const found = await api.get("/api/v1/jobs", { limit: CHUNK, cursor });
		for (const job of found.items) this.jobs.set(job.id, job);
		this.cursor = found.next_cursor;
		this.render();
	}

	fail(error) {
		this.box.replaceChildren(h("p", { class: "bad" }, error.message), btn({ onclick: () => this.load().catch((e) => this.fail(e)) }, "Try again"));
	}

	refresh() {
		for (const job of this.jobs.values()) if (!finished(job.status)) this.ask(job.id);
	}

	waiting() {
		const open = [...this.jobs.values()].filter((job) => !finished(job.status));
		const eta = Math.max(0, ...open.map((job) => job.queue?.eta_seconds ?? 0));
		return { count: open.length + (open.length && this.cursor ? "+" : ""), eta: eta ? duration(eta) : "" };
	}

	put(job) {
		const isNew = !this.jobs.has(job.id);
		this.jobs.set(job.id, job);
		if (isNew && !this.query) this.render();
		else this.fill(job);
	}

	remove(id) {
		this.jobs.delete(id);
		this.render();
	}

	heard(id, name, data) {
		const job = this.jobs.get(id);
		if (!job) return this.ask(id);
		if (data.progress) job.progress = data.progress;
		if (name === "status") job.status = data.status;
		if (name === "done" || name === "deleted") return name === "deleted" ? this.remove(id) : this.ask(id);
		this.fill(job);
	}

	async ask(id) {
		if (this.asking.has(id)) return;
		this.asking.add(id);
		try {
			const { pages, ...job } = await api.get(`/api/v1/jobs/${id}`);
			this.put(job);
		} catch (error) {
			if (error.status === 404 || error.status === 410) this.remove(id);
		} finally {
			this.asking.delete(id);
		}
	}

	select(id) {
		this.rows.get(this.selected)?.removeAttribute("aria-current");
		this.selected = id;
		this.rows.get(id)?.setAttribute("aria-current", "page");
	}

	render() {
		if (this.query) return;
		const days = new Map();
		const sorted = [...this.jobs.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
		for (const job of sorted) {
			const day = new Date(job.created_at).toDateString();
			if (!days.has(day)) days.set(day, []);
			days.get(day).push(job);
		}
		this.rows.clear();
		const parts = [...days].map(([day, jobs]) => h("section", {}, h("h2", {}, dayName(day)), h("ul", { class: "jobs" }, jobs.map((job) => h("li", {}, this.row(job))))));
		if (!parts.length) parts.push(dim("No files yet."));
		if (this.cursor) parts.push(btn({ onclick: () => this.load(this.cursor).catch((error) => this.fail(error)) }, "Show older files"));
		this.box.replaceChildren(...parts);
		this.select(this.selected);
	}

	row(job) {
		const row = h("a", { class: "job", href: `/?job=${job.id}`, "data-nav": true });
		this.rows.set(job.id, row);
		this.fill(job);
		return row;
	}

	fill(job) {
		const row = this.rows.get(job.id);
		if (!row) return;
		const { pages_total: total, pages_done: done, pages_failed: failed } = job.progress;
		row.dataset.status = job.status;
		const parts = [h("span", { class: "name", title: job.input.filename }, job.input.filename || "unnamed")];
		let note = WORDS[job.status];
		const eta = job.queue?.eta_seconds ? `, about ${duration(job.queue.eta_seconds)}` : "";
		if (job.status === "queued" && job.queue) note = `waiting, place ${job.queue.position}${eta}`;
		if (job.status === "processing") note = `${done + failed} of ${plural(total, "page")}${eta}`;
		if (job.status === "failed" && job.error) note = job.error.detail;
		if (job.status === "succeeded") note = plural(total, "page");
		if (job.status === "partial") note = `${done} of ${plural(total, "page")}`;
		if (finished(job.status) && job.expires_at) {
			const left = (new Date(job.expires_at) - Date.now()) / 1000;
			note += left > 0 ? `, kept for ${duration(left)}` : ", expired";
		}
		if (!finished(job.status)) parts.push(h("progress", { max: total, value: done + failed, "aria-label": `Progress of ${job.input.filename}` }));
		parts.push(h("span", { class: "note" }, note));
		row.replaceChildren(...parts);
	}

	async search(query) {
		this.query = query;
		if (!query) return this.render();
		try {
			const [named, inText] = await Promise.all([
				api.get("/api/v1/jobs", { q: query, limit: CHUNK }),
				api.get("/api/v1/search", { q: query }),
			]);
			if (this.query !== query) return;
			this.rows.clear();
			const names = named.items.map((job) => h("li", {}, this.row((this.jobs.set(job.id, job), job))));
			const hits = inText.items.map((hit) => h("li", {}, h("a", { class: "job hit", href: `/?job=${hit.job}#page=${hit.page}&block=${hit.block}`, "data-nav": true },
				h("span", { class: "name" }, `${hit.filename}, page ${hit.page}`), h("span", { class: "note" }, ...marked(hit.snippet, query)))));
			this.box.replaceChildren(
				h("section", {}, h("h2", {}, `File names (${names.length})`), h("ul", { class: "jobs" }, names)),
				h("section", {}, h("h2", {}, `In the text (${hits.length}${inText.complete === false ? "+" : ""})`), h("ul", { class: "jobs" }, hits)));
		} catch (error) {
			this.fail(error);
		}
	}
}

function marked(snippet, query) {
	const at = snippet.toLowerCase().indexOf(query.toLowerCase());
	if (at < 0) return [snippet];
	return [snippet.slice(0, at), h("mark", {}, snippet.slice(at, at + query.length)), snippet.slice(at + query.length)];
}

function dayName(day) {
	const today = new Date(), yesterday = new Date(Date.now() - 86400000);
	if (day === today.toDateString()) return "Today";
	if (day === yesterday.toDateString()) return "Yesterday";
	return new Date(day).toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}
