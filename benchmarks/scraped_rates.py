"""Are the rates that Prometheus shows those that clients have? ``python -m benchmarks.scraped_rates [--minutes 5]``

A real Prometheus (Debian's ``prometheus``) scrapes two gateways once a second, while clients submit a steady mix of
jobs (good, several pages, failing pages, cancelled, refused) whose webhooks are received, and one of two workers is
killed in the middle. What the clients counted within the last minutes is then compared with ``rate(...)`` over the same
minutes; goal: 1 %. In the end each counter must be exactly what the clients counted altogether. The exit code is 1
where anything disagrees.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.prometheus import Prometheus, needed
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import Receiver
from tools.uploads import png, tiff
from tools.valkey import Valkey, wait_until

GOAL: Final = 0.01
API: Final = 'ocr_http_requests_total{route=~"/api/v1/jobs.*"}'
WARM_SECONDS: Final = 20.0  # of load before the window: a series has to be there before its rate is right
LOOK_SECONDS: Final = 1.5  # between two looks of a client at its job
LOCAL: Final = {"webhook_allow": "127.0.0.1", "webhook_allow_http": "true", "webhook_ports": ""}
ENGINE: Final[dict[str, Any]] = {
    "engine": "tests.engines.fixtures.raises_on_page:load", "instant_seconds": 1.0, "lease": 2, "requeue_after": 3,
}  # fmt: skip


@dataclass
class Counted:
    """What the clients saw. Moments are seconds since the epoch; ``ended``: views of jobs as they ended."""

    submitted: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    ended: list[dict[str, Any]] = field(default_factory=list)


class LoadedService:
    """Two gateways, two workers, a sender, a receiver, and the Prometheus that watches."""

    def __init__(self, folder: Path) -> None:
        (folder / "store").mkdir()
        self.store, self.receiver = Valkey(folder / "store"), Receiver()
        url = self.store.url
        self.gateways = [Gateway(folder, url, f"gateway-{i}", **LOCAL) for i in (1, 2)]
        self.workers = [Worker(folder, url, f"worker-{i}", **ENGINE) for i in (1, 2)]
        self.sender = WebhookSenderProcess(folder, url)
        for gateway in self.gateways:
            gateway.wait_ready()
        for worker in self.workers:
            worker.wait_ready()
        self.sender.wait_ready()
        self.prometheus = Prometheus(folder, [f"127.0.0.1:{gateway.port}" for gateway in self.gateways])

    def close(self) -> None:
        self.prometheus.stop()
        processes: Iterable[Process] = (self.sender, *self.workers, *self.gateways)
        for process in processes:
            process.kill()
        self.store.stop()
        self.receiver.close()


@contextmanager
def loaded_service() -> Iterator[LoadedService]:
    with tempfile.TemporaryDirectory(prefix="ocr-rates-") as folder:
        service = LoadedService(Path(folder))
        try:
            yield service
        finally:
            service.close()


class SteadyLoad:
    """Submits ``per_second`` jobs, evenly, and follows each to its end."""

    def __init__(self, service: LoadedService, per_second: float) -> None:
        self.counted, self._service, self._pause = Counted(), service, 1 / per_second
        self._client = httpx.AsyncClient(timeout=60)
        self._random = random.Random(1)

    async def run(self, seconds: float) -> None:
        async with self._client, asyncio.TaskGroup() as jobs:
            began, number = time.monotonic(), 0
            while time.monotonic() < began + seconds:
                jobs.create_task(self._job(number))
                number += 1
                await asyncio.sleep(max(0.0, began + number * self._pause - time.monotonic()))

    async def _call(self, number: int, method: str, path: str, **more: Any) -> httpx.Response:
        answer = await self._client.request(method, f"{self._service.gateways[number % 2].url}{path}", **more)
        self.counted.answers.append(time.time())
        return answer

    async def _job(self, number: int) -> None:
        fields = {"webhook_url": f"{self._service.receiver.url}/hook"}
        answer = await self._call(number, "POST", "/api/v1/jobs", files={"file": upload(number)}, data=fields)
        if answer.status_code != 202:
            self.counted.refusals.append(time.time())
            return
        self.counted.submitted.append(time.time())
        path = f"/api/v1/jobs/{answer.json()['id']}"
        if number % 20 == 13:
            await self._call(number, "POST", f"{path}/cancel")
        while True:
            await asyncio.sleep(LOOK_SECONDS * self._random.uniform(0.5, 1.5))
            view = (await self._call(number + 1, "GET", path)).json()
            if view["completed_at"]:
                self.counted.ended.append(view)
                return


def upload(number: int) -> tuple[str, bytes]:
    """Of twenty files two have several pages, two have a page that fails, one is no document."""
    seed = number * 4 + 1
    match number % 20:
        case 0 | 10:
            return f"{number}.tiff", tiff([seed, seed + 1, seed + 2])
        case 5:
            return f"{number}.tiff", tiff([seed, seed + 1], {seed})
        case 15:
            return f"{number}.tiff", tiff([seed], {seed})
        case 7:
            return f"{number}.png", b"no picture at all"
        case _:
            return f"{number}.png", png(seed)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def rates(service: LoadedService, counted: Counted, end: float, seconds: float) -> list[tuple[str, float, float]]:
    """``(what, a second by the clients, a second by Prometheus)`` of the ``seconds`` before ``end``."""

    def within(moments: Iterable[float]) -> float:
        return sum(end - seconds < at <= end for at in moments) / seconds

    def rate(metric: str) -> float:
        return service.prometheus.value(metric.replace("[]", f"[{seconds:.0f}s]"), end)

    pages = [moment(view["completed_at"]) for view in counted.ended for _ in range(pages_of(view))]
    jobs = [moment(view["completed_at"]) for view in counted.ended]
    received = [call.at + time.time() - time.monotonic() for call in service.receiver.calls]
    of_store = "max(sum by (instance) (rate({}[])))"
    return [
        ("jobs submitted", within(counted.submitted), rate(of_store.format("ocr_jobs_submitted_total"))),
        ("jobs ended", within(jobs), rate(of_store.format("ocr_jobs_ended_total"))),
        ("pages ended", within(pages), rate(of_store.format("ocr_pages_total"))),
        ("requests answered", within(counted.answers), rate(f"sum(rate({API}[]))")),
        ("webhooks received", within(received),
         rate('max(rate(ocr_webhook_attempts_total{outcome="delivered"}[]))')),
    ]  # fmt: skip


def pages_of(view: dict[str, Any]) -> int:
    return int(view["progress"]["pages_done"] + view["progress"]["pages_failed"])


def totals(service: LoadedService, counted: Counted) -> list[tuple[str, float, float]]:
    """``(what, by the clients, by Prometheus)`` of everything."""
    ask: Callable[[str], float] = service.prometheus.value
    statuses = Counter(view["status"] for view in counted.ended)
    failed = sum(view["progress"]["pages_failed"] for view in counted.ended)
    done = sum(view["progress"]["pages_done"] for view in counted.ended)
    return [
        ("jobs submitted", len(counted.submitted), ask("max(sum by (instance) (ocr_jobs_submitted_total))")),
        ("submissions refused", len(counted.refusals), ask("sum(ocr_jobs_refused_total)")),
        *(
            (f"jobs {status}", count, ask(f'max(ocr_jobs_ended_total{{status="{status}"}})'))
            for status, count in statuses.items()
        ),
        ("job durations", len(counted.ended), ask("max(sum by (instance) (ocr_job_duration_seconds_count))")),
        ("pages failed", failed, ask('max(sum by (instance) (ocr_pages_total{status="failed"}))')),
        ("pages read", done, ask('max(sum by (instance) (ocr_pages_total{status!="failed"}))')),
        ("requests", len(counted.answers), ask(f"sum({API})")),
        ("webhooks", len(service.receiver.calls), ask('max(ocr_webhook_attempts_total{outcome="delivered"})')),
    ]  # fmt: skip


def report(title: str, rows: Iterable[tuple[str, float, float]], most: float) -> bool:
    """Print them; whether all are within ``most`` of each other."""
    good = True
    print(f"{title:24}{'clients':>12}{'Prometheus':>12}{'apart':>9}")
    for what, mine, theirs in rows:
        apart = abs(theirs - mine) / mine if mine else abs(theirs)
        good &= apart <= most
        print(f"{what:24}{mine:12.3f}{theirs:12.3f}{apart:9.2%}{'' if apart <= most else '  DISAGREES'}")
    return good


async def load(service: LoadedService, minutes: float, per_second: float) -> tuple[Counted, float]:
    """Run the load, with a worker killed in the middle; what was counted, and when the window ended."""
    clients, seconds = SteadyLoad(service, per_second), WARM_SECONDS + minutes * 60
    running = asyncio.create_task(clients.run(seconds + 5))
    await asyncio.sleep(seconds / 2)
    service.workers[0].signal(signal.SIGKILL)
    await asyncio.to_thread(service.workers[0].popen.wait)
    service.workers[0].start()
    await asyncio.sleep(seconds / 2)
    end = time.time()
    await running
    return clients.counted, end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--per-second", type=float, default=2, help="jobs; default: 2")
    wanted = parser.parse_args()
    needed()
    with loaded_service() as service:
        counted, end = asyncio.run(load(service, wanted.minutes, wanted.per_second))
        wait_until(lambda: service.store.client.zcard("hooks:due") == 0, 60, "the last webhook")
        time.sleep(3)  # a last scrape
        lost = service.prometheus.value("max(ocr_lease_losses_total)")
        print(f"{len(counted.submitted)} jobs, a worker killed: {lost:.0f} leases lost")
        agree = report("a second", rates(service, counted, end, wanted.minutes * 60), GOAL)
        agree &= report("in all", totals(service, counted), 0)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
