"""The web page with a document of 500 pages: ``python -m benchmarks.web_page [--pages 500]``.

Opens it in Chromium, pages through it and jumps about, and prints the longest tasks of the page's thread (goal: none
above 200 ms), the memory of its heap, and how many images it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tools.browser import launched
from tools.processes import Gateway
from tools.uploads import written_book
from tools.valkey import Valkey

GOAL_MS = 200
MILLISECONDS = 60_000
MIB = 1024 * 1024
OBSERVE = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => Math.round(entry.duration))))
	.observe({ type: "longtask", buffered: true });
"""


def read_through(page: Page, pages: int) -> None:
    """Every tenth page one after the other, some far apart, and the views of the text."""
    for number in [*range(1, pages + 1, 10), pages, 1, pages // 2]:
        page.evaluate(f"location.hash = 'page={number}'")
        expect(page.locator(f"#page-{number} .frame img")).to_be_visible()
    for view in ("Markdown", "JSON", "Text"):
        page.get_by_role("group", name="View").get_by_role("button", name=view).click()


def measured(url: str, job: str, pages: int) -> dict[str, object]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(MILLISECONDS)
        page.add_init_script(OBSERVE)
        page.goto(f"{url}/?job={job}")
        expect(page.locator(".page")).to_have_count(pages)
        read_through(page, pages)
        session = page.context.new_cdp_session(page)
        session.send("HeapProfiler.collectGarbage")
        tasks = sorted(page.evaluate("longTasks"), reverse=True)
        return {
            "pages": pages,
            "tasks_over_50_ms": len(tasks),
            "longest_ms": tasks[:5],
            "heap_mib": round(page.evaluate("performance.memory.usedJSHeapSize") / MIB, 1),
            "images": page.evaluate("document.images.length"),
            "goal_met": max(tasks, default=0) <= GOAL_MS,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=500)
    pages = parser.parse_args().pages
    expect.set_options(timeout=MILLISECONDS)
    folder = Path(tempfile.mkdtemp())
    valkey = Valkey(folder)
    gateway = Gateway(folder, valkey.url, rate_limit=100_000, rate_burst=100_000).wait_ready()
    try:
        with ThreadPoolExecutor() as thread:
            job = thread.submit(asyncio.run, written_book(valkey.url, pages)).result()
        print(json.dumps(measured(gateway.url, job, pages)))
    finally:
        gateway.stop()
        valkey.stop()


if __name__ == "__main__":
    main()
