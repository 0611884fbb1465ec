// Small helpers to build elements; text is always set as text, never as HTML.

export const $ = (selector, root = document) => root.querySelector(selector);

export function h(tag, props = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(props)) {
		if (value === undefined || value === null || value === false) continue;
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else if (name === "class") element.className = value;
		else if (name in element && !name.includes("-")) element[name] = value;
		else element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
	return element;
}

export const dim = (...text) => h("p", { class: "dim" }, ...text);
export const btn = (props, ...children) => h("button", { type: "button", ...props }, ...children);

// HTML that the server has sanitised, as nodes.
export function sanitised(html) {
	const template = document.createElement("template");
	template.innerHTML = html;
	return template.content;
}

export const svg = (tag, attributes = {}) => {
	const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
	return element;
};

let hideToast;
export function toast(text, kind = "info") {
	const box = $("#toast");
	box.textContent = text;
	box.dataset.kind = kind;
	box.hidden = false;
	clearTimeout(hideToast);
	hideToast = setTimeout(() => (box.hidden = true), 6000);
}

// Tell a screen reader, and nobody else.
export const announce = (text) => ($("#live").textContent = text);

export function dialog(title, body, actions = [["close", "Close"]]) {
	const box = h("dialog", { "aria-label": title },
		h("form", { method: "dialog" },
			h("h2", {}, title), body,
			h("p", { class: "row end" }, actions.map(([value, label, kind]) =>
				h("button", { value, class: kind ?? "" }, label)))));
	document.body.append(box);
	box.showModal();
	return new Promise((resolve) => box.addEventListener("close", () => {
		box.remove();
		resolve(box.returnValue || "close");
	}));
}

export async function copy(text, what = "Copied") {
	await navigator.clipboard.writeText(text);
	toast(what);
}

export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

export function duration(seconds) {
	if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
	if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
	return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
