// Uploads; a refusal stays beside its file.

import { upload } from "./api.js";
import { $, announce, btn, h } from "./dom.js";

const AT_ONCE = 3;
const choice = (name, label, values) => h("label", {}, label, h("select", { name }, values.map(([value, words = value]) => h("option", { value }, words))));
const input = (name, label, placeholder) => h("label", {}, label, h("input", { name, placeholder }));

export function pageOptions({ modes, prompts, languages }) {
	const fields = [choice("type", "Kind", [["", "document"], ["image", "picture"]])];
	if (modes?.length) fields.push(choice("mode", "Mode", [["", "default"], ...modes.map((m) => [m])]));
	if (prompts) fields.push(input("prompt", "Prompt", "the engine's own"));
	if (languages?.length) fields.push(input("languages", "Languages", "ru,en"));
	return fields;
}

export class Uploads {
	constructor(box, { onJob }) {
		Object.assign(this, { box, onJob, waiting: [], running: 0 });
	}

	setModels(models) {
		$("#options").replaceChildren(
			input("pages", "Pages", "all, or 1-3,7"),
			...pageOptions({ ...models }),
			choice("text_layer", "Text in the PDF", [["", "ignore it"], ["prefer", "use where whole"]]),
			choice("priority", "Priority", [["", "normal"], ["high"], ["low"]]));
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
				const passing = [0, 429, 503].includes(error.status);
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
