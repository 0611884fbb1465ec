"""Do API, logs, /metrics, Flower and Prometheus agree, job by job; and does each alert fire on its real fault?

``python -m benchmarks.operations_drill [--jobs 200] [--no-alerts]`` needs Debian's ``prometheus``. Two gateways, two
workers that are killed, a sender, a Flower and a Prometheus, all real; the alerts' waits, windows and three of their
thresholds are shortened so that the drill takes minutes. Prints one line per finding; the exit code is 1 when anything
disagrees.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.prometheus import Prometheus, needed
from tests.integration.test_flower import SHOWN, ShownTasks
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import Receiver
from tools.uploads import png, tiff
from tools.valkey import ROOT, Valkey, wait_until

MONITORING: Final = ROOT / "deploy" / "monitoring"
ENGINE: Final = "tests.engines.fixtures.kills_on_page:load"
WORKER: Final[dict[str, Any]] = {
    "engine": ENGINE, "lease": 2, "instant_seconds": 0.05, "requeue_after": 3,
    "jobs_in_flight": 16, "log_format": "json",
}  # fmt: skip
SHORTER: Final = (
    (r"for: \d+m", "for: 2s"), (r"\[\d+m\]", "[60s]"), (r"> 600", "> 3"), (r"> 300", "> 3"), (r"> 60$", "> 0.01"),
)  # fmt: skip
QUEUE_LIMIT: Final = 400


class Drill:
    """Everything that runs, and a thread that starts a worker again whenever it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.receiver = folder, Receiver(lambda _call, _number: (500, {}))
        (folder / "store").mkdir()
        self.store = Valkey(folder / "store")
        url, common = self.store.url, {"log_format": "json"}
        local = {
            "webhook_allow": "127.0.0.1",
            "webhook_allow_http": "true",
            "webhook_ports": "",
            "webhook_schedule": "0",
        }
        self.gateways = [
            Gateway(folder, url, f"gateway-{i}", max_queue_jobs=QUEUE_LIMIT, **common, **local) for i in (1, 2)
        ]
        self.sender = WebhookSenderProcess(
            folder, url, webhook_schedule="0", webhook_breaker_seconds=0.5, webhook_breaker_failures=1000, **common
        )
        self.flower = ShownTasks(folder, url)
        self.flower.wait_ready()
        self.flower.wait_for(lambda: self.store.client.pubsub_numpat() > 0, 30, "Flower to hear events")
        self.workers: list[Process] = [Worker(folder, url, f"worker-{i}", **WORKER) for i in (1, 2)]
        self.restarting = True
        threading.Thread(target=self._restart, daemon=True).start()
        for gateway in self.gateways:
            gateway.wait_ready()
        self.prometheus = self._prometheus()
        self.clients = [httpx.Client(base_url=gateway.url, timeout=60) for gateway in self.gateways]

    def _restart(self) -> None:
        while True:
            for worker in self.workers:
                if self.restarting and not worker.alive:
                    worker.start()
            time.sleep(0.2)

    def _prometheus(self) -> Prometheus:
        rules = (MONITORING / "rules.yml").read_text()
        for pattern, instead in SHORTER:
            rules = re.sub(pattern, instead, rules, flags=re.M)
        return Prometheus(self.folder, [f"127.0.0.1:{gateway.port}" for gateway in self.gateways], rules=rules)

    def firing(self) -> set[str]:
        alerts = self.prometheus.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def log_lines(self) -> list[dict[str, Any]]:
        texts = [process.text() for process in (*self.gateways, *self.workers, self.sender)]
        return [json.loads(line) for text in texts for line in text.splitlines() if line.startswith("{")]

    def submit(self, number: int, data: bytes, kind: str, **fields: str) -> str:
        files = {"file": (f"{number}.{kind}", data)}
        answer = self.clients[number % 2].post("/api/v1/jobs", files=files, data=fields)
        return str(answer.raise_for_status().json()["id"])

    def close(self) -> None:
        self.restarting = False
        self.prometheus.stop()
        for process in (self.flower, self.sender, *self.workers, *self.gateways):
            process.kill()
        self.store.stop()
        self.receiver.close()


def mixed(drill: Drill, count: int) -> list[str]:
    """Of every 25 jobs: two past their deadline, four cancelled, one with a page that kills workers, every tenth three
    pages; one worker is killed in the middle; each fifth has a webhook that fails."""
    jobs, poisons = [], 0
    for number in range(count):
        fields = {"webhook_url": f"{drill.receiver.url}/hook"} if number % 5 == 0 else {}
        if number % 50 == 25:
            poisons += 1
            seeds = [number * 4 + 1] if poisons % 2 else [number * 4 + 1, number * 4 + 2]
            job = drill.submit(number, tiff(seeds, {seeds[0]}), "tiff", **fields)
        elif number % 25 in (7, 19):
            job = drill.submit(number, png(number * 4), "png", deadline="0.02", **fields)
        elif number % 10 == 0:
            job = drill.submit(number, tiff([number * 4 + 1, number * 4 + 2, number * 4 + 3]), "tiff", **fields)
        else:
            job = drill.submit(number, png(number * 4), "png", **fields)
        jobs.append(job)
        if number % 25 in (3, 9, 13, 21):
            drill.clients[1].post(f"/api/v1/jobs/{job}/cancel")
        if number == count // 2:
            drill.workers[0].signal(signal.SIGKILL)
    return jobs


def compare(drill: Drill, jobs: list[str]) -> list[str]:
    """What disagrees, in words."""

    def look(job: str) -> dict[str, Any]:
        found: dict[str, Any] = drill.clients[0].get(f"/api/v1/jobs/{job}").json()
        return found

    wait_until(
        lambda: all(look(job)["status"] not in ("queued", "processing") for job in jobs), 300, "the end of all jobs"
    )
    wait_until(lambda: not drill.store.client.zcard("untold"), 120, "every end to be told")
    time.sleep(5)  # events to Flower, a last scrape
    seen = {job: look(job) for job in jobs}
    lines = drill.log_lines()
    logged = {line["job"]: (line["status"], line.get("code")) for line in lines if line["event"] == "job.ended"}
    shown = drill.flower.get("/api/tasks?limit=10000").json()
    wrong = []
    for job, view in seen.items():
        status, code, task = view["status"], (view["error"] or {}).get("code"), shown.get(job, {})
        story = [f"{line['time']} {line.get('worker')} {line['event']}" for line in lines if line.get("job") == job]
        if logged.get(job) != (status, code):
            wrong.append(f"log: {job} is {status} {code}, logged {logged.get(job)}: {story}")
        if task.get("state") != SHOWN[status]:
            wrong.append(f"Flower: {job} is {status}, shown {task}: {story}")
    counts = Counter(view["status"] for view in seen.values())
    print(f"jobs by the API: {dict(counts)}")
    for status, count in counts.items():
        counted = drill.prometheus.value(f'max(ocr_jobs_ended_total{{status="{status}"}})')
        if counted != count:
            wrong.append(f"Prometheus: {count} jobs {status}, counted {counted}")
    return wrong


def alerts(drill: Drill) -> dict[str, bool]:
    """Alert -> whether it fired on its fault."""
    names = re.findall(r"alert: (\w+)", (MONITORING / "rules.yml").read_text())
    fired = dict.fromkeys(names, False)

    def expect(*wanted: str, seconds: float = 45) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name in drill.firing():
                fired[name] = True
            if all(fired[name] for name in wanted):
                return
            time.sleep(0.5)

    for number in range(4):
        drill.submit(number, tiff([5000 + number], {5000 + number}), "tiff", webhook_url=f"{drill.receiver.url}/hook")
    expect("OcrLeaseLosses", "OcrEngineRestarting", "OcrPagesFailing", "OcrWebhooksExhausted", seconds=90)
    for number in range(30):  # pages that take their time, for OcrPageSlow
        drill.submit(number, png(9000 + number), "png")
    expect("OcrPageSlow")
    drill.restarting = False
    for worker in drill.workers:
        worker.kill()
    drill.sender.kill()
    for number in range(int(QUEUE_LIMIT * 0.85)):
        job = drill.submit(number, png(20_000 + number), "png", webhook_url=f"{drill.receiver.url}/hook")
        if number < 5:
            drill.clients[0].post(f"/api/v1/jobs/{job}/cancel")
    expect("OcrNoReadyWorker", "OcrQueueOld", "OcrQueueNearLimit", "OcrWebhooksOld")
    used = int(drill.store.client.info("memory")["used_memory"])
    drill.store.client.config_set("maxmemory", int(used / 0.8))
    expect("OcrStoreMemory", "OcrStoreFull")
    drill.store.stop()
    with ThreadPoolExecutor(8) as callers:
        deadline = time.monotonic() + 120  # longer than the window, which holds all requests of the faults before
        while time.monotonic() < deadline and not (fired["OcrStoreDown"] and fired["OcrHttpErrors"]):
            list(callers.map(lambda number: drill.clients[number % 2].get("/api/v1/jobs"), range(32)))
            expect("OcrStoreDown", "OcrHttpErrors", seconds=1)
    drill.gateways[1].kill()
    expect("OcrGatewayDown")
    return fired


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--no-alerts", action="store_true", help="only compare the jobs")
    wanted = parser.parse_args()
    count = wanted.jobs
    needed()
    with tempfile.TemporaryDirectory(prefix="ocr-drill-") as folder:
        drill = Drill(Path(folder))
        try:
            started = time.monotonic()
            wrong = compare(drill, mixed(drill, count))
            print(f"{count} jobs in {time.monotonic() - started:.0f} s, {len(wrong)} disagreements")
            print("\n".join(wrong))
            fired = {} if wanted.no_alerts else alerts(drill)
            for name, did in fired.items():
                print(f"{name}: {'fired' if did else 'did NOT fire'}")
        finally:
            drill.close()
    sys.exit(1 if wrong or not all(fired.values()) else 0)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
