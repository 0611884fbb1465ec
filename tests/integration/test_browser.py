"""In a real browser: the API's page works, a hostile document does nothing, a web page of another origin reads along.

Chromium where it is installed (Debian: ``apt install chromium``); there is nothing to learn from a stand-in.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from gateway.formats.html import CSP
from shared.store.jobs import Store
from tests.integration.conftest import Script
from tests.unit.shared.formats.test_formats import PROBES
from tools.browser import CHROMIUM
from tools.needs import needs
from tools.processes import Gateway, Worker
from tools.uploads import picture, png, submit
from tools.valkey import Valkey
from worker.engines.instant import answer

KEY = "k" * 32
SECONDS = 60

pytestmark = needs(CHROMIUM, "Chromium")

PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
const api = "%(api)s/api/v1/jobs", headers = {Authorization: "Bearer %(key)s"};
const report = (found) => fetch("/report", {method: "POST", body: JSON.stringify(found)});
try {
  const form = new FormData();
  form.append("file", new Blob([Uint8Array.from(atob("%(png)s"), (c) => c.charCodeAt(0))]), "page.png");
  const job = await (await fetch(api, {method: "POST", headers, body: form})).json();
  const token = await (await fetch(`${api}/${job.id}/token`, {method: "POST", headers})).json();
  const names = [], source = new EventSource(token.events);
  for (const name of ["status", "page.started", "token", "page.completed"])
    source.addEventListener(name, () => names.push(name));
  source.addEventListener("done", async (event) => {
    source.close();
    const markdown = await (await fetch(`${api}/${job.id}/result?token=${token.token}`)).text();
    await report({names, done: JSON.parse(event.data), markdown});
  });
} catch (error) { await report({error: String(error)}); }
</script>"""


@dataclass
class Site:
    """A web server of another origin: one page, what was reported to it, and what else it was asked for."""

    port: int = 0
    page: str = ""
    reports: Queue[dict[str, Any]] = field(default_factory=Queue)
    asked: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class SiteHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            self._answer(made.page if self.path == "/" else "")

        def do_POST(self) -> None:
            made.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer("")

        def _answer(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nothing on the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), SiteHandler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def chromium(folder: Path, *arguments: str) -> list[str]:
    """A command without anything of this user's; it runs as root too."""
    return [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}", *arguments,
    ]  # fmt: skip


def dom(folder: Path, url: str) -> tuple[str, str]:
    """The page as it is after its scripts have run, and what the browser's console says."""
    command = chromium(folder, "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", url)
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_the_apis_page_shows_every_operation_under_its_own_policy(gateway: Gateway, tmp_path: Path) -> None:
    page, console = dom(tmp_path, f"{gateway.url}/docs")
    assert 'data-path="/api/v1/jobs"' in page
    assert 'data-path="/api/v1/ocr"' in page
    assert console == ""


async def test_what_a_hostile_document_holds_does_nothing(
    gateway: Gateway, store: Store, script: Script, site: Site, tmp_path: Path
) -> None:
    evil = f"//127.0.0.1:{site.port}"
    probes = [p.replace("alert(1)", "document.title='pwned'").replace("//evil.example", evil) for p in PROBES]
    job_id = await submit(store, png(1), "image/png", len(probes))
    await script.do(job_id, [f"before\n\n{probe}\n\nafter" for probe in probes])
    page, _ = dom(tmp_path, f"{gateway.url}/api/v1/jobs/{job_id}/result?format=html")
    assert f"<title>Document {job_id}</title>" in page
    assert page.count("<section") == page.count("<p>before</p>") == len(probes)
    assert site.asked == []


def test_the_policy_alone_would_hold(site: Site, tmp_path: Path) -> None:
    """Were the sanitiser to fail: the same policy over a page that has a script in it."""
    inner = f'<meta http-equiv="Content-Security-Policy" content="{CSP.split("frame-ancestors")[0]}">'
    site.page = f"<!doctype html><head>{inner}<title>fine</title></head><script>document.title='pwned'</script>"
    page, console = dom(tmp_path, f"{site.origin}/")
    assert "<title>fine</title>" in page
    assert "Content Security Policy" in console


def test_a_web_page_of_another_origin_submits_follows_and_reads(
    site: Site, valkey: Valkey, start_worker: Callable[..., Worker], tmp_path: Path
) -> None:
    start_worker()
    ours = Gateway(tmp_path, valkey.url, api_keys=f"web={KEY}", cors_origins=site.origin).wait_ready()
    site.page = PAGE % {"api": ours.url, "key": KEY, "png": base64.b64encode(png(7)).decode()}
    browser = subprocess.Popen(chromium(tmp_path, f"{site.origin}/"), stderr=subprocess.DEVNULL)
    try:
        found = site.reports.get(timeout=SECONDS)
    finally:
        browser.terminate()
        browser.wait()
        ours.stop()
    assert found.get("error") is None
    assert found["done"]["status"] == "succeeded"
    assert found["markdown"].strip() == answer(picture(7))
    assert {"page.started", "token", "page.completed"} <= set(found["names"])
