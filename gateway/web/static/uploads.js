// Uploads, at most three at once; a refusal stays beside its file.

import { upload } from "./api.js";
import { $, announce, btn, h } from "./dom.js";

const AT_ONCE = 3;
const choice = (name, label, values) => h("label", {}, label, h("select", { name }, values.map(([value, words]) => h("option", { value }, words))));

export function pageOptions(models) {
	const fields = [choice("type", "Kind", [["", "document"], ["image", "photo or drawing"]])];
	if (models?.modes?.length) fields.push(choice("mode", "Mode", [["", "default"], ...models.modes.map((mode) => [mode, mode])]));
	if (models?.prompts) fields.push(h("label", {}, "Prompt", h("input", { name: "prompt", placeholder: "the engine's own" })));
	return fields;
}

export class Uploads {
	constructor(box, { onJob }) {
		Object.assign(this, { box, onJob, waiting: [], running: 0 });
	}

	setModels(models) {
		$("#options").replaceChildren(
			h("label", {}, "Pages", h("input", { name: "pages", placeholder: "all, or 1-3,7" })),
			...pageOptions(models),
			choice("text_layer", "Text in the PDF", [["", "ignore, read the image"], ["prefer", "use it where it is whole"]]),
			choice("priority", "Priority", [["", "normal"], ["high", "high"], ["low", "low"]]));
	}

	add(list) {
		const fields = Object.fromEntries(new FormData($("#drop")).entries());
		for (const file of list) this.waiting.push(this.line(file, fields));
		announce(`${list.length} files are being uploaded`);
		this.next();
	}

	line(file, fields) {
		const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
		const note = h("p", { class: "note" }, "waiting");
		const stop = btn({ class: "plain", "aria-label": `Stop ${file.name}` }, "✕");
		const row = h("div", { class: "upload" }, h("span", { class: "name", title: file.name }, file.name || "pasted image"), stop, bar, note);
		this.box.append(row);
		const item = { file, fields, row, bar, note, stopped: false, abort: null };
		stop.addEventListener("click", () => {
			item.stopped = true;
			item.abort?.();
			row.remove();
		});
		return item;
	}

	next() {
		while (this.running < AT_ONCE && this.waiting.length) {
			const item = this.waiting.shift();
			if (item.stopped) continue;
			this.running += 1;
			this.run(item).finally(() => { this.running -= 1; this.next(); });
		}
	}

	async run(item) {
		for (let attempt = 0; !item.stopped; attempt += 1) {
			const { done, abort } = upload(item.file, item.fields, (share) => {
				item.bar.value = share;
				item.note.textContent = share < 1 ? `${Math.round(share * 100)} %` : "checking";
			});
			item.abort = abort;
			try {
				const job = await done;
				item.row.remove();
				return this.onJob(job);
			} catch (error) {
				if (item.stopped) return;
				const passing = error.status === 429 || error.status === 503 || error.status === 0;
				if (!passing || attempt >= 20) return this.refuse(item, error);
				item.note.textContent = `${error.message}; trying again`;
				await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(60, error.retryAfter || 2 ** Math.min(attempt, 4))));
			}
		}
	}

	refuse(item, error) {
		item.bar.remove();
		item.row.classList.add("refused");
		item.note.textContent = error.message;
		item.note.setAttribute("role", "alert");
		item.row.append(h("p", {}, h("a", { href: `/problems/${error.code}`, target: "_blank" }, error.code)));
	}
}
