"""The web page with a document of 500 pages: ``python -m benchmarks.web_page [--pages 500]``.

Opens it in Chromium, pages through it and jumps about, and prints the longest tasks of the page's thread (goal: none
above 200 ms): by Chromium's performance observer, in which a busy machine counts too, and by its trace, as CPU time of
the thread. Then reads through it again: heap and DOM must not have grown by a tenth, and few images be held (resident
memory is printed only: Chromium keeps what it may need again). The exit code is 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil
from playwright.sync_api import CDPSession, Page, sync_playwright

from tools.browser import launched
from tools.processes import Gateway
from tools.uploads import written_book
from tools.valkey import Valkey

GOAL_MS: Final = 200
MOST_GROWTH: Final = 1.1
MOST_IMAGES: Final = 60
MILLISECONDS: Final = 60_000
LOOK_MS: Final = 50
MIB: Final = 1024 * 1024
TASKS: Final = "RunTask"  # what the trace calls one task of a thread
OBSERVE: Final = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((entry) => Math.round(entry.duration))))
	.observe({ type: "longtask", buffered: true });
"""


def wait_for(page: Page, expression: str) -> None:
    """Playwright's own way to wait for an expression is refused by the page's Content-Security-Policy."""
    deadline = time.monotonic() + MILLISECONDS / 1000
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {expression}")
        page.wait_for_timeout(LOOK_MS)


def read_through(page: Page, pages: int) -> None:
    """Every 50th page one after the other, some far apart, and the views of the text.

    By the page's own means: Playwright finds an element by its role in a task of the page's thread that looks at all.
    """
    for number in [*range(1, pages + 1, 50), pages, 1, pages // 2]:
        page.evaluate(f"location.hash = 'page={number}'")
        wait_for(page, f"document.querySelector('#page-{number} .frame img')?.complete")
    for view in (1, 2, 0):  # Markdown, JSON, Text
        page.evaluate(f"document.querySelectorAll('.segments button')[{view}].click()")


@dataclass(frozen=True)
class TabMemory:
    """``renderer_mib``: resident memory of the tab's process."""

    heap_mib: float
    nodes: int
    images: int
    renderer_mib: float

    @classmethod
    def of(cls, page: Page, session: CDPSession) -> TabMemory:
        session.send("HeapProfiler.collectGarbage")
        found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        renderers = [
            process.memory_info().rss
            for process in psutil.Process().children(recursive=True)
            if "--type=renderer" in process.cmdline()
        ]
        heap, images = round(found["JSHeapUsedSize"] / MIB, 1), page.evaluate("document.images.length")
        return cls(heap, int(found["Nodes"]), images, round(max(renderers) / MIB, 1))

    def grown_to(self, after: TabMemory) -> float:
        """The larger ratio of heap and nodes."""
        return max(after.heap_mib / self.heap_mib, after.nodes / self.nodes)


def cpu_of_tasks(trace: bytes) -> list[float]:
    """Milliseconds of CPU of each task of the page's thread: the one of that name which worked most."""
    events = json.loads(trace)["traceEvents"]
    mains = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    threads: dict[tuple[int, int], list[float]] = {}
    for one in events:
        its = (one["pid"], one["tid"])
        if its in mains and one["name"].endswith(TASKS):
            threads.setdefault(its, []).append(one.get("tdur", 0) / 1000)
    return sorted(max(threads.values(), key=sum), reverse=True)


def measured(url: str, job: str, pages: int) -> dict[str, object]:
    with sync_playwright() as playwright, launched(playwright) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(MILLISECONDS)
        page.add_init_script(OBSERVE)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        browser.start_tracing(page=page, categories=["toplevel"])
        page.goto(f"{url}/?job={job}")
        wait_for(page, f"document.querySelectorAll('.page').length === {pages}")
        read_through(page, pages)
        cpu, tasks = cpu_of_tasks(browser.stop_tracing()), sorted(page.evaluate("longTasks"), reverse=True)
        once = TabMemory.of(page, session)
        read_through(page, pages)
        twice = TabMemory.of(page, session)
        return {
            "pages": pages, "tasks_over_50_ms": len(tasks), "longest_ms": tasks[:5],
            "longest_cpu_ms": [round(one) for one in cpu[:5]], "read_once": asdict(once), "read_twice": asdict(twice),
            "goal_met": max(tasks, default=0) <= GOAL_MS,
            "goal_met_by_cpu": cpu[0] <= GOAL_MS,
            "memory_bounded": once.grown_to(twice) <= MOST_GROWTH and twice.images <= MOST_IMAGES,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=500)
    pages = parser.parse_args().pages
    folder = Path(tempfile.mkdtemp())
    valkey = Valkey(folder)
    gateway = Gateway(folder, valkey.url, rate_limit=100_000, rate_burst=100_000).wait_ready()
    try:
        with ThreadPoolExecutor() as thread:
            job = thread.submit(asyncio.run, written_book(valkey.url, pages)).result()
        found = measured(gateway.url, job, pages)
        print(json.dumps(found))
    finally:
        gateway.stop()
        valkey.stop()
    sys.exit(0 if found["goal_met"] and found["memory_bounded"] else 1)


if __name__ == "__main__":
    main()
