// The public HTTP API. Problems (RFC 9457) become errors with a code.

const KEY = "ocr-key";
const share = location.pathname.startsWith("/s/") ? decodeURIComponent(location.pathname.slice(3)) : null;

export const readOnly = share !== null;
export const getKey = () => sessionStorage.getItem(KEY) ?? "";
export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

// A refusal; status 0: the service cannot be reached.
export class Problem extends Error {
	constructor(status, body = {}, retryAfter = 0) {
		super(body.detail || body.title || (status ? `The service answered ${status}` : "The service cannot be reached"));
		this.status = status;
		this.code = body.code ?? (status ? "unknown" : "offline");
		this.retryAfter = Number(retryAfter) || 0;
	}
}

function address(path, query = {}) {
	const url = new URL(path, location.origin);
	for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== "") url.searchParams.set(name, value);
	if (share) url.searchParams.set("token", share);
	return url;
}

const headers = (more = {}) => (getKey() ? { authorization: `Bearer ${getKey()}`, ...more } : more);

async function problem(response) {
	return new Problem(response.status, await response.json().catch(() => ({})), response.headers.get("retry-after"));
}

export async function call(method, path, { query, json, signal, accept } = {}) {
	const init = { method, signal, headers: headers(accept ? { accept } : {}) };
	if (json !== undefined) {
		init.body = JSON.stringify(json);
		init.headers["content-type"] = "application/json";
	}
	let response;
	try {
		response = await fetch(address(path, query), init);
	} catch (error) {
		if (error.name === "AbortError") throw error;
		throw new Problem(0);
	}
	if (!response.ok) throw await problem(response);
	return response;
}

export const get = async (path, query, signal) => (await call("GET", path, { query, signal })).json();
export const text = async (path, query) => (await call("GET", path, { query })).text();
export const blob = async (path, query, signal) => (await call("GET", path, { query, signal })).blob();
export const send = async (method, path, json) => {
	const response = await call(method, path, { json });
	return response.status === 204 ? null : response.json();
};

// `onProgress` gets a share from 0 to 1; resolves with the job.
export function upload(file, fields, onProgress) {
	const form = new FormData();
	for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
	form.append("file", file, file.name || "pasted.png");
	const request = new XMLHttpRequest();
	const done = new Promise((resolve, reject) => {
		request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
		request.onerror = () => reject(new Problem(0));
		request.onabort = () => reject(new Problem(0, { code: "aborted", detail: "The upload was stopped" }));
		request.onload = () => {
			let body = {};
			try { body = JSON.parse(request.responseText); } catch { /* an answer that is no JSON has no detail */ }
			if (request.status === 202 || request.status === 200) return resolve(body);
			reject(new Problem(request.status, body, request.getResponseHeader("retry-after")));
		};
	});
	request.open("POST", address("/api/v1/jobs"));
	for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
	request.setRequestHeader("idempotency-key", crypto.randomUUID?.() ?? String(Math.random()));
	request.send(form);
	return { done, abort: () => request.abort() };
}

// Server-Sent Events by fetch, which can send the key; reconnects until aborted or refused.
export async function follow(path, onEvent, { signal, onState = () => {}, query = {} } = {}) {
	let last = "";
	for (let pause = 500; !signal.aborted; pause = Math.min(pause * 2, 8000)) {
		try {
			const response = await fetch(address(path, query), {
				signal, cache: "no-store", headers: headers({ accept: "text/event-stream", ...(last && { "last-event-id": last }) }),
			});
			if (response.status === 204) return;
			if (!response.ok) {
				const error = await problem(response);
				if (response.status < 500 && response.status !== 429) throw error;
				await sleep(Math.max(pause, error.retryAfter * 1000), signal);
				continue;
			}
			onState(true);
			pause = 500;
			const ended = await readEvents(response.body, (event) => {
				if (event.id) last = event.id;
				onEvent(event);
				return event.name === "done" && !path.endsWith("/api/v1/events");
			});
			if (ended) return;
		} catch (error) {
			if (signal.aborted || error.name === "AbortError") return;
			if (error instanceof Problem) throw error;
		}
		onState(false);
		await sleep(pause, signal);
	}
}

async function readEvents(body, onEvent) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let buffer = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return false;
		buffer += value;
		const parts = buffer.split("\n\n");
		buffer = parts.pop();
		for (const part of parts) {
			const event = { id: "", name: "message", data: "" };
			for (const line of part.split("\n")) {
				if (line.startsWith("id: ")) event.id = line.slice(4);
				else if (line.startsWith("event: ")) event.name = line.slice(7);
				else if (line.startsWith("data: ")) event.data += line.slice(6);
			}
			if (!event.data) continue;
			event.data = JSON.parse(event.data);
			if (onEvent(event)) { reader.cancel(); return true; }
		}
	}
}

const sleep = (ms, signal) => new Promise((resolve) => {
	const timer = setTimeout(resolve, ms);
	signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
});

// A plain link to a GET route of a job, with a token where a key is used.
export async function link(job, path, query = {}) {
	if (getKey()) {
		const { token } = await send("POST", `/api/v1/jobs/${job}/token`);
		return address(path, { ...query, token });
	}
	return address(path, query);
}
