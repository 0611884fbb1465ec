"""Everything that runs in a chaos run, and what keeps it running: a process that ends is started again."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.bucket_proxy import BucketProxy
from tests.chaos.proxy import StoreProxy, pass_all
from tests.conftest import make_settings
from tests.settings import Settings
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import OK, ReceivedCall, Receiver
from tools.s3_server import BUCKET, S3Server
from tools.valkey import ROOT, Valkey

LEASE = 3.0
RECEIVER_HOST = "receiver.chaos.test"
SITE = Path(__file__).parent / "site"
ENGINES = ("tests.engines.fixtures.kills_on_page:load", "tests.engines.fixtures.an_hour_off:load")
# Workers are killed every few seconds here: three deaths are no proof against a page.
WORKER: dict[str, Any] = {
    "page_attempts": 6,
    "lease": LEASE,
    "requeue_after": 5,
    "instant_seconds": 0.15,
    "drain_seconds": 5,
    "jobs_in_flight": 16,
    "pages_in_flight": 8,
}
WEBHOOKS: dict[str, Any] = {
    "webhook_allow": f"{RECEIVER_HOST},127.0.0.1",
    "webhook_allow_http": "true",
    "webhook_ports": "",
    "webhook_schedule": "0," + ",".join(["1"] * 40),
    "webhook_timeout": 5,
    "webhook_breaker_seconds": 0.5,
}


class ChaosStack:
    """Two gateways, two workers (one whose clock is an hour off), a sender, a receiver and the store.

    ``await ChaosStack.start(...)``. ``before``: a checkout of the version before, whose code one of the two workers
    runs, as in a rolling deploy. ``s3``: payloads lie in a bucket, behind a proxy of its own, instead of a folder.
    """

    def __init__(self, folder: Path, rng: random.Random, **settings: Any) -> None:
        self.folder, self.rng = folder, rng
        data = folder / "valkey"
        data.mkdir()
        self.valkey = Valkey(data)
        self._given = {"payloads_url": self.payloads.as_uri(), **settings}
        self.settings: Settings = make_settings(self.valkey.url, **self._given)
        self.workers: list[Process] = []
        self.gateways: list[Gateway] = []
        self.senders: list[Process] = []
        self.proxies: dict[Process, StoreProxy] = {}
        self.busy: set[Process] = set()  # down on purpose
        self.mixed = False  # two versions
        self.counts: Counter[str] = Counter()
        self.exits: list[str] = []  # processes that ended by themselves
        self.receiver = Receiver(self._answer)
        self.receiver_url = f"http://{RECEIVER_HOST}:{self.receiver.port}"
        self.lookups = folder / "lookups"
        self.lookups.write_text("ok")
        self.bucket: BucketProxy | None = None
        self.writes = folder / "writes"
        self.writes.write_text("ok")

    @property
    def payloads(self) -> Path:
        """The payload folder; it may be away."""
        return self.folder / "payloads"

    def payloads_become(self, state: str) -> None:
        """``ok``, ``full``, ``refused`` or ``slow``."""
        self.writes.write_text(state)
        if self.bucket is not None:
            self.bucket.become(state)

    @classmethod
    async def start(
        cls, folder: Path, rng: random.Random, before: Path | None = None, s3: S3Server | None = None, **settings: Any
    ) -> ChaosStack:  # fmt: skip
        bucket = await BucketProxy(s3.port).start() if s3 is not None else None
        if s3 is not None and bucket is not None:
            settings |= {"payloads_url": f"s3://{BUCKET}/chaos"}
        stack = cls(folder, rng, **settings)
        if s3 is not None and bucket is not None:
            stack.bucket = bucket
            stack._given |= {name.lower(): value for name, value in s3.environment.items()}
            stack._given["aws_endpoint_url"] = bucket.url
        stack.mixed = before is not None
        for number in (1, 2):
            await stack._add(stack.gateways, Gateway, f"gateway-{number}", WEBHOOKS)
            own = {**WORKER, "engine": ENGINES[number - 1], "checkout": (before or ROOT) if number == 2 else ROOT}
            await stack._add(stack.workers, Worker, f"worker-{number}", own)
        await stack._add(stack.senders, WebhookSenderProcess, "sender-1", WEBHOOKS | {"chaos_dns": stack.lookups})
        return stack

    async def _add(self, kind: list[Any], make: Any, name: str, settings: dict[str, Any]) -> None:
        proxy = await StoreProxy(self.valkey.port).start()
        clock = self.folder / f"{name}.clock"
        clock.write_text("0")
        steady = self.folder / "steady-lookups"
        steady.write_text("ok")
        own = {"chaos_clock": clock, "chaos_dns": steady, "chaos_payloads": self.writes, "pythonpath": SITE}
        if make is not Gateway:
            own["heartbeat_file"] = self.folder / f"{name}.alive"
        process = make(self.folder, proxy.url, name, **(own | settings | self._given))
        self.proxies[process] = proxy
        kind.append(process)

    @property
    def processes(self) -> list[Process]:
        return [*self.gateways, *self.workers, *self.senders]

    def name(self, process: Process) -> str:
        return process.log.stem

    def clock(self, process: Process) -> Path:
        return self.folder / f"{self.name(process)}.clock"

    def heartbeat_age(self, process: Process) -> float:
        return time.time() - (self.folder / f"{self.name(process)}.alive").stat().st_mtime

    def _answer(self, _call: ReceivedCall, number: int) -> tuple[int, dict[str, str]]:
        """A receiver that is not at its best."""
        return (503, {}) if number == 1 and self.rng.random() < 0.2 else OK

    async def ready(self) -> None:
        for gateway in self.gateways:
            await asyncio.to_thread(gateway.wait_ready)
        for other in (*self.workers, *self.senders):
            await asyncio.to_thread(other.wait_ready)  # type: ignore[attr-defined]

    async def keep_running(self) -> None:
        """What a supervisor does."""
        while True:
            for process in self.processes:
                if not process.alive and process not in self.busy:
                    self.exits.append(f"{self.name(process)} ended with {process.popen.returncode}")
                    process.start()
            await asyncio.sleep(0.2)

    def mend(self) -> None:
        """Nothing is broken any more."""
        self.payloads_become("ok")
        self.lookups.write_text("ok")
        for process, proxy in self.proxies.items():
            proxy.rule = pass_all
            self.clock(process).write_text("0")

    async def stop(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGCONT)
            await asyncio.to_thread(process.kill)
        for proxy in self.proxies.values():
            await proxy.close()
        if self.bucket is not None:
            await self.bucket.close()
        self.valkey.signal(signal.SIGCONT)
        self.valkey.stop()
        self.receiver.close()
