"""The web page in a real browser, over the real service: drop files, watch them, check, correct, share, delete."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from tools.browser import CHROMIUM, launched
from tools.needs import needs
from tools.processes import Gateway, Worker
from tools.uploads import png, tiff, written_book
from tools.valkey import Valkey, wait_until

pytestmark = needs(CHROMIUM, "Chromium")
SECONDS = 60_000  # milliseconds, as Playwright counts
expect.set_options(timeout=SECONDS)


@dataclass
class PageService:
    """``book``: a document of 500 pages, all of them read."""

    gateway: Gateway
    worker: Worker
    book: str


@pytest.fixture(scope="module")
def service(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageService]:
    valkey_server.client.flushall()
    folder = tmp_path_factory.mktemp("web")
    gateway = Gateway(folder, valkey_server.url)
    with ThreadPoolExecutor() as thread:  # this one may have Playwright's event loop
        book = thread.submit(asyncio.run, written_book(valkey_server.url, 500)).result()
    worker = Worker(folder, valkey_server.url, instant_seconds=0.2)
    gateway.wait_ready()
    worker.wait_ready()
    yield PageService(gateway, worker, book)
    worker.stop()
    gateway.stop()


@pytest.fixture(scope="module")
def url(service: PageService) -> str:
    return service.gateway.url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


class BrowserTab:
    """A tab, and what it must not do: report an error, or ask another host for anything."""

    def __init__(self, browser: Browser, url: str, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        self.context.set_default_timeout(SECONDS)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.expected = re.compile("(?!)")  # nothing; a test that stops the service says what it expects
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._request(request, url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "status of 4" not in message.text and not self.expected.search(message.text):
            self.errors.append(message.text)

    def _request(self, request: Request, url: str) -> None:
        if not request.url.startswith((url, "blob:", "data:")):
            self.errors.append(f"asked {request.url}")


@pytest.fixture
def tab(browser: Browser, url: str) -> Iterator[BrowserTab]:
    watched = BrowserTab(browser, url)
    yield watched
    watched.context.close()
    assert watched.errors == []


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three pages, a picture, and a file that is refused."""
    contents = {"three.tiff": tiff([1, 2, 3]), "picture.png": png(4), "notes.txt": b"no picture"}
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_bytes(contents[path.name])
    return paths


def opened(tab: BrowserTab, url: str, path: Path) -> Page:
    """The document of one upload, read to its end."""
    page = tab.page
    page.goto(url)
    page.set_input_files("#files", path)
    page.get_by_role("link", name=path.name).first.click()
    expect(page.locator("#page-1 .block").first).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text("Download")).to_be_visible(timeout=SECONDS)
    expect(page.locator("#page-1 .frame img")).to_be_visible(timeout=SECONDS)
    return page


def test_files_are_dropped_watched_and_refused_beside_their_name(tab: BrowserTab, url: str, files: list[Path]) -> None:
    page = tab.page
    page.goto(url)
    expect(page.locator("#status")).to_contain_text("Ready")
    page.set_input_files("#files", files)
    expect(page.locator(".refused")).to_contain_text("notes.txt")
    expect(page.locator(".refused .note")).to_contain_text("not of an accepted type")
    expect(page.locator(".job").filter(has_not_text="500 pages")).to_have_count(2)
    page.get_by_role("link", name="three.tiff").click()
    expect(page.locator(".page")).to_have_count(3)
    for number in (1, 2, 3):
        page.locator(f"#page-{number}").scroll_into_view_if_needed()
        expect(page.locator(f"#page-{number} .block").first).to_be_visible()
        expect(page.locator(f"#page-{number} img").first).to_be_visible()
    assert re.search(r"\?job=[0-9A-Z]{26}", page.url)


def test_a_block_and_its_box_lead_to_each_other(tab: BrowserTab, url: str, files: list[Path]) -> None:
    page = opened(tab, url, files[1])
    box = page.locator("#page-1 rect[data-block='0']")
    page.locator("#page-1 .block[data-block='0']").hover()
    expect(box).to_have_class(re.compile("hover"))
    box.dispatch_event("click")
    expect(page.locator("#page-1 .block[data-block='0']")).to_have_class(re.compile("selected"))
    assert page.url.endswith("#page=1&block=0")


def test_a_block_is_corrected_and_stays_so(tab: BrowserTab, url: str, files: list[Path]) -> None:
    page = opened(tab, url, files[1])
    page.locator("#page-1 .block[data-block='0']").dblclick()
    page.get_by_role("dialog").locator("textarea").fill("# Corrected by hand")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#page-1 .block[data-block='0'] h1")).to_have_text("Corrected by hand")
    page.reload()
    expect(page.locator("#page-1 .edited")).to_be_visible()


def test_a_page_with_a_fault_is_retried_as_a_document_of_its_own(tab: BrowserTab, url: str, files: list[Path]) -> None:
    def degraded(route: Route) -> None:
        answer = route.fetch()
        job = answer.json()
        job["pages"] = [page | {"status": "degraded", "reason": "repetition"} for page in job.get("pages", [])]
        route.fulfill(response=answer, json=job)

    def with_languages(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"languages": ["ru"]})

    page = tab.page
    page.route("**/models", with_languages)
    page.route(re.compile(r"/jobs/[0-9A-Z]{26}$"), degraded)
    page = opened(tab, url, files[1])
    before = page.url
    expect(page.locator("#page-1 .state")).to_have_text("degraded: repetition")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_label("Kind").select_option("image")
    page.get_by_role("dialog").get_by_label("Languages").fill("ru")
    with page.expect_request(re.compile(r"/pages/1/retry$")) as sent:
        page.get_by_role("dialog").get_by_role("button", name="Read again").click()
    assert sent.value.post_data_json == {"type": "image", "languages": "ru"}
    expect(page.get_by_role("heading", name="picture, page 1.webp")).to_be_visible()
    expect(page.locator("#page-1 .block").first).to_be_visible()
    assert page.url != before


@pytest.mark.parametrize("wanted", ["Markdown", "JSON", "HTML", "Text", "Zip with figures"])
def test_every_format_is_downloaded(tab: BrowserTab, url: str, files: list[Path], wanted: str) -> None:
    page = opened(tab, url, files[1])
    page.get_by_text("Download").click()
    with page.expect_download() as download:
        page.locator(".menu").get_by_role("link", name=wanted, exact=True).click()
    assert Path(download.value.path()).stat().st_size > 0


def test_a_link_opens_the_document_elsewhere_to_read_only(
    tab: BrowserTab, browser: Browser, url: str, files: list[Path]
) -> None:
    page = opened(tab, url, files[1])
    page.get_by_role("button", name="Share").click()
    link = page.get_by_label("Link").input_value()
    other = BrowserTab(browser, url)
    other.page.goto(link)
    expect(other.page.locator("#page-1 .block").first).to_be_visible()
    expect(other.page.locator("#page-1 img").first).to_be_visible()
    expect(other.page.get_by_role("button", name="Delete")).to_have_count(0)
    other.context.close()
    assert other.errors == []


def test_a_document_is_deleted(tab: BrowserTab, url: str, files: list[Path]) -> None:
    page = opened(tab, url, files[1])
    address = page.url
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Images and PDFs to Markdown")).to_be_visible()
    page.goto(address)
    expect(page.get_by_role("heading", name="no longer here")).to_be_visible()


def pages_done(url: str, filename: str) -> int:
    jobs = httpx.get(f"{url}/api/v1/jobs").json()["items"]
    return sum(job["progress"]["pages_done"] for job in jobs if job["input"]["filename"] == filename)


def test_a_document_that_is_being_read_is_cancelled(
    tab: BrowserTab, url: str, service: PageService, tmp_path: Path
) -> None:
    page = tab.page
    (path := tmp_path / "endless.tiff").write_bytes(tiff(range(2000, 3000)))
    page.goto(url)
    page.set_input_files("#files", path)
    # Far from its end, however busy the machine is: nobody waits for the browser to show that it has begun.
    wait_until(lambda: pages_done(url, "endless.tiff") > 0, SECONDS / 1000, "a page of the document")
    service.worker.signal(signal.SIGSTOP)
    try:
        expect(page.locator("#page-1 .block").first).to_be_visible()
        expect(page.get_by_text("Reading: ")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("Cancelled", exact=False).first).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
        expect(page.get_by_text("Download")).to_be_visible()
        expect(page.locator("#page-1 .block").first).to_be_visible()
    finally:
        service.worker.signal(signal.SIGCONT)
    page.goto(url)
    expect(page.locator(".job").filter(has_text="endless.tiff")).to_contain_text("cancelled")


def test_words_in_a_document_are_found(tab: BrowserTab, url: str, files: list[Path]) -> None:
    page = opened(tab, url, files[1])
    page.locator("#query").fill("PIXELS")
    expect(page.locator(".hit").first).to_be_visible()
    page.locator(".hit").first.click()
    expect(page.locator("#page-1 .selected").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nobody_is_kept_out(browser: Browser, url: str, files: list[Path], width: int, scheme: str) -> None:
    tab = BrowserTab(browser, url, width, scheme)
    tab.page.goto(url)
    expect(tab.page.locator("#status")).to_contain_text("Ready")
    empty = Axe().run(tab.page)
    tab.page.set_input_files("#files", files[1])
    expect(tab.page.get_by_text("Download")).to_be_visible()
    found = [*empty.response["violations"], *Axe().run(tab.page).response["violations"]]
    width_needed = tab.page.evaluate("document.documentElement.scrollWidth")
    tab.context.close()
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
    assert width_needed <= width
    assert tab.errors == []


def test_a_gateway_restarts_in_the_middle_of_a_stream_and_nothing_is_lost(
    browser: Browser, url: str, service: PageService, valkey_server: Valkey, tmp_path: Path
) -> None:
    """The tab that watches goes on by itself, and another finds the document by its URL."""
    tab = BrowserTab(browser, url)
    tab.expected = re.compile("net::ERR_|status of 503")  # no gateway, and for a moment no worker
    service.worker.stop()
    slow = Worker(tmp_path, valkey_server.url, "slow", instant_seconds=8).wait_ready()
    (path := tmp_path / "long.tiff").write_bytes(tiff([11, 12, 13]))
    tab.page.goto(url)
    tab.page.set_input_files("#files", path)
    expect(tab.page.locator("#page-1 .stream")).to_contain_text("# A page of 200 x 120 pixels")
    service.gateway.kill()
    expect(tab.page.locator("#status")).to_contain_text("cannot be reached")
    service.gateway.start()
    service.gateway.wait_ready()
    other = BrowserTab(browser, url)
    other.expected = tab.expected
    other.page.goto(tab.page.url)
    for page in (tab.page, other.page):
        for number in (1, 2, 3):
            page.locator(f"#page-{number}").scroll_into_view_if_needed()
            expect(page.locator(f"#page-{number} .block").nth(1)).to_contain_text("sha256 ")
        expect(page.get_by_text("Download")).to_be_visible()
    slow.stop()
    service.worker.start()
    wait_until(lambda: httpx.get(f"{url}/health").is_success, what="a ready worker")
    for one in (tab, other):
        one.context.close()
        assert one.errors == []


def test_a_document_of_500_pages_holds_images_near_the_view_alone(
    tab: BrowserTab, url: str, service: PageService
) -> None:
    page = tab.page
    page.goto(f"{url}/?job={service.book}")
    expect(page.locator(".page")).to_have_count(500)
    expect(page.get_by_text("Download")).to_be_visible()
    for number in (1, 100, 250, 251, 400, 500):
        page.evaluate(f"location.hash = 'page={number}'")
        expect(page.locator(f"#page-{number} .frame img")).to_be_visible()
        expect(page.locator(".thumb[aria-current] img")).to_be_visible()
        expect(page.locator(f".thumb[aria-current][href='#page={number}']")).to_be_visible()
    page.wait_for_function("document.images.length < 60")
    assert page.locator(".block").count() < 120
    assert page.locator("#page-1 img, #page-250 img").count() == 0


def test_the_operators_view_shows_the_worker(tab: BrowserTab, url: str) -> None:
    tab.page.goto(f"{url}/#service")
    expect(tab.page.get_by_text("Workers ready")).to_be_visible()
    expect(tab.page.locator("table").first).to_contain_text("instant")
