"""The pictures of the web page in the docs: every state of it, from a real service in a real browser.

``python -m tools.screenshots [FOLDER] [--only GROUP ...]`` starts a store, a gateway and workers of its own and writes
one picture for each state, and two of Flower. Look at them: nothing may overlap or be cut off.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.browser import launched
from tools.processes import FlowerProcess, Gateway, Worker
from tools.uploads import png, tiff, written_book
from tools.valkey import ROOT, Valkey

FOLDER = ROOT / "docs" / "images"
SAMPLE = ROOT / "docs" / "sample.pdf"
WIDE, PHONE = (1440, 900), (390, 844)
MILLISECONDS = 120_000
MOST_COLOURS = 256  # a screenshot with a palette is a third of the size
FAILING = "tests.engines.fixtures.raises_on_page:load"
MANY_JOBS, MANY_PAGES = 500, 2000


class Camera:
    """Takes the pictures of one service."""

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser, self.url, self._folder = browser, url, folder

    @contextmanager
    def page(self, size: tuple[int, int] = WIDE, scheme: str = "light", **more: Any) -> Iterator[Page]:
        viewport = {"width": size[0], "height": size[1]}
        context = self._browser.new_context(viewport=viewport, color_scheme=scheme, **more)  # type: ignore[arg-type]
        context.set_default_timeout(MILLISECONDS)
        yield context.new_page()
        context.close()

    def take(self, page: Page, name: str) -> None:
        page.wait_for_timeout(1500)  # thumbnails
        with Image.open(io.BytesIO(page.screenshot())) as image:
            image.convert("RGB").quantize(MOST_COLOURS).save(self._folder / f"{name}.png", optimize=True)

    def of(self, name: str, path: str, shown: str, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        """The page at ``path`` once ``shown``, a selector, is there."""
        with self.page(size, scheme) as page:
            page.goto(self.url + path)
            expect(page.locator(shown).first).to_be_visible(timeout=MILLISECONDS)
            self.take(page, name)


def submitted(url: str, name: str, data: bytes) -> str:
    answer = httpx.post(f"{url}/api/v1/jobs", files={"file": (name, data)}, timeout=60)
    return str(answer.raise_for_status().json()["id"])


def ended(url: str, job_id: str) -> str:
    while not httpx.get(f"{url}/api/v1/jobs/{job_id}", headers={"Prefer": "wait=30"}, timeout=60).json()[
        "completed_at"
    ]:
        pass
    return job_id


def of_a_document(camera: Camera) -> str:
    """The sample as the CPU engine reads it; the job's id."""
    with camera.page() as page:
        page.goto(camera.url)
        page.set_input_files("#files", SAMPLE)
        page.get_by_role("link", name="sample.pdf").first.click()
        expect(page.locator(".page .stream").first).not_to_be_empty()
        camera.take(page, "reading")
    job = ended(camera.url, str(httpx.get(f"{camera.url}/api/v1/jobs").json()["items"][0]["id"]))
    image, place = "#page-1 .frame img", f"/?job={job}#page=1&block=1"
    camera.of("document", place, image)
    camera.of("dark", place, image, scheme="dark")
    camera.of("phone-page", place, image, PHONE)
    with camera.page(PHONE) as page:
        page.goto(f"{camera.url}/?job={job}")
        expect(page.locator(image)).to_be_visible()
        page.locator(".tabs").get_by_role("button", name="Text").click()
        camera.take(page, "phone-text")
    return job


def of_states(camera: Camera, job: str) -> None:
    """What is shown while a document is not there."""
    api = f"**/api/v1/jobs/{job}"
    broken = {"title": "Internal error", "status": 500, "detail": "Internal error; the log has more"}
    states: dict[str, Callable[[Page], object]] = {
        "loading": lambda page: page.route(api, lambda _: None),
        "error": lambda page: page.route(api, lambda route: route.fulfill(status=500, json=broken)),
    }
    for name, prepare in states.items():
        with camera.page() as page:
            prepare(page)
            page.goto(f"{camera.url}/?job={job}")
            page.wait_for_timeout(1000)
            camera.take(page, name)
    with camera.page() as page:
        page.goto(f"{camera.url}/?job={job}")
        expect(page.locator("#page-1 .frame img")).to_be_visible()
        page.context.set_offline(True)
        page.route("**/*", lambda route: route.abort())
        expect(page.locator("#status")).to_contain_text("cannot be reached")
        camera.take(page, "offline")
    camera.of("expired", "/?job=01ARZ3NDEKTSV4RRFFQ69G5FAV", "main h1")
    with camera.page() as page:
        page.goto(camera.url)
        (notes := Path(tempfile.mkdtemp()) / "notes.txt").write_text("no picture")
        page.set_input_files("#files", notes)
        expect(page.locator(".refused")).to_be_visible()
        camera.take(page, "refused")


def of_many(camera: Camera, valkey: Valkey) -> None:
    with ThreadPoolExecutor() as thread:  # this one has Playwright's event loop
        job = thread.submit(asyncio.run, written_book(valkey.url, MANY_PAGES)).result()
    camera.of("2000-pages", f"/?job={job}#page=1000", "#page-1000 .frame img")
    for number in range(MANY_JOBS):
        submitted(camera.url, f"scan-{number:03}.png", png(number))
    camera.of("500-jobs", "/", ".job")


def of_operators(camera: Camera, valkey: Valkey, folder: Path) -> None:
    """The service's own view and Flower's, after jobs that ended in every way."""
    flower = FlowerProcess(folder, valkey.url).wait_ready()
    flower.wait_for(lambda: valkey.client.pubsub_numpat() > 0, 60, "Flower to hear events")
    worker = Worker(folder, valkey.url, "mixed", engine=FAILING, instant_seconds=0.5).wait_ready()
    jobs = [submitted(camera.url, f"scan-{number}.png", png(7000 + number)) for number in range(6)]
    jobs.append(submitted(camera.url, "half.tiff", tiff([7100, 7101], {7100})))
    jobs.append(submitted(camera.url, "not.tiff", tiff([7102], {7102})))
    httpx.post(f"{camera.url}/api/v1/jobs/{jobs[0]}/cancel", timeout=60)
    for job in jobs:
        ended(camera.url, job)
    submitted(camera.url, "book.tiff", tiff(range(7200, 7400)))
    camera.of("service", "/#service", ".cards")
    login = {"username": flower.LOGIN[0], "password": flower.LOGIN[1]}
    for name, path, shown in (("flower-tasks", "/tasks", "#tasks-table"), ("flower-workers", "/", "#workers-table")):
        with camera.page(http_credentials=login) as page:
            page.goto(flower.url + path)
            expect(page.locator(f"{shown} tbody tr").first).to_be_visible()
            camera.take(page, name)
    worker.kill()
    flower.kill()


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tools.screenshots", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    groups = ("document", "many", "operators")
    parser.add_argument("--only", nargs="+", choices=groups, default=groups, help="some of the pictures")
    wanted = parser.parse_args()
    target = wanted.folder
    target.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=MILLISECONDS)
    folder = Path(tempfile.mkdtemp())
    valkey = Valkey(folder)
    gateway = Gateway(folder, valkey.url, rate_limit=100_000, rate_burst=100_000).wait_ready()
    try:
        with sync_playwright() as playwright, launched(playwright) as browser:
            camera = Camera(browser, gateway.url, target)
            if "document" in wanted.only:
                camera.of("empty", "/", "main h1")
                worker = Worker(folder, valkey.url, engine="cpu").wait_ready()
                job = of_a_document(camera)
                worker.stop()
                of_states(camera, job)
            if "operators" in wanted.only:
                of_operators(camera, valkey, folder)
            if "many" in wanted.only:
                of_many(camera, valkey)
    finally:
        gateway.stop()
        valkey.stop()


if __name__ == "__main__":
    main()
