"""The numbers for Prometheus: one truth at every process, names that the docs list, and promtool's approval."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Limits, Metrics, ServiceSnapshot
from gateway.store_metrics import worker_labels
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.store.keyspace import HISTOGRAM_BOUNDS, Histogram
from tools.processes import Gateway
from tools.uploads import png
from tools.valkey import ROOT, Valkey, wait_until

MONITORING = ROOT / "deploy" / "monitoring"
NAME = re.compile(r"\b(?:ocr|process)_[a-z_]+[a-z]\b")
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")
ENGINES = {"kv_cache_usage", "running_requests", "waiting_requests", "finish_stop_total", "reading", "pages"}


@pytest.fixture(scope="session")
def promtool() -> str:
    """Debian's package ``prometheus`` brings it."""
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is not installed")
    return found


def everything() -> str:
    """The text of a gateway that has something to say of each metric there is."""
    engine = EngineStatus(name="e", model="m", slots=8, gpu_memory_used=5, metrics=dict.fromkeys(ENGINES, 1.0))
    fields = {
        f"{'|'.join([kind, *labels])}|{bucket}": 3
        for kind, labels in Histogram.LABELS.items()
        for bucket in (1, len(HISTOGRAM_BOUNDS) + 1, "sum")
    }
    metrics = Metrics()
    metrics.request("POST", {}, 202, 0.1)
    metrics.request("POST", {"route": type("Route", (), {"path": "/api/v1/jobs"})}, 429, 0.1, "queue-full")
    counters = {"reason:failed:timeout": 2, "pages:failed": 3}
    workers = [WorkerStatus(name="host-1", engine=engine)]
    snapshot = ServiceSnapshot(True, Limits(1, 2, 3, 0.7), counters, fields, workers, 1.0, (1, 2), (1, 2.0))
    return metrics.render(snapshot).decode()


def names_of(text: str) -> set[str]:
    """Every name a query may use for what this text gives; those of histograms without their suffixes."""
    families = text_string_to_metric_families(text)
    return {SUFFIX.sub("", sample.name) for family in families for sample in family.samples}


def test_promtool_has_nothing_to_say(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=everything(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_docs_list_every_metric_and_no_other() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text().partition("## Former names")[0]
    listed = set(re.findall(r"^\| `(ocr_\w+)` \|", text, re.M))
    given = {name for name in names_of(everything()) if name.startswith("ocr_")}
    own = {f"ocr_engine_{name}" for name in ENGINES}
    assert listed == given - own | {"ocr_gateway_processes"}


def test_every_histogram_has_its_labels_and_adds_up() -> None:
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(everything())
        for sample in family.samples
        if sample.name.startswith("ocr_page_duration_seconds")
    }
    assert samples[("ocr_page_duration_seconds_bucket", "0.01")] == 3
    assert samples[("ocr_page_duration_seconds_bucket", "3600.0")] == 3
    assert samples[("ocr_page_duration_seconds_bucket", "+Inf")] == 6
    assert samples[("ocr_page_duration_seconds_count", None)] == 6
    assert samples[("ocr_page_duration_seconds_sum", None)] == 3e-6


def test_a_worker_keeps_its_label_when_it_restarts() -> None:
    def labels(*names: str) -> list[str]:
        workers = [WorkerStatus(name=n, started_at=at, engine=EngineStatus(name="e")) for at, n in enumerate(names)]
        return [label for label, _ in worker_labels(workers)]

    assert labels("gpu-box-71", "gpu-box-9000", "other-5") == ["gpu-box", "gpu-box/2", "other"]
    assert labels("gpu-box-9000", "gpu-box-9911", "other-77") == ["gpu-box", "gpu-box/2", "other"]


@pytest.fixture
def two_processes(tmp_path: Path, valkey: Valkey) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, valkey.url, workers=2)
    yield gateway.wait_ready()
    gateway.kill()


def value(url: str, name: str, **labels: str) -> float:
    """Asked by a connection of its own, so that any process may answer."""
    text = httpx.get(f"{url}/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def test_two_processes_give_one_number_also_after_one_of_them_died(two_processes: Gateway) -> None:
    url = two_processes.url
    for _ in range(15):
        assert httpx.get(f"{url}/api/v1/jobs").is_success
    assert httpx.post(f"{url}/api/v1/jobs", files={"file": ("a.png", png(1), "image/png")}).status_code == 202
    lists = {"method": "GET", "route": "/api/v1/jobs"}
    assert {value(url, "ocr_http_requests_total", **lists) for _ in range(12)} == {15}
    assert {value(url, "ocr_jobs_submitted_total", priority="normal") for _ in range(6)} == {1}
    assert value(url, "ocr_gateway_processes") == 2
    assert value(url, "process_resident_memory_bytes") > 0
    killed = serving(two_processes)[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in serving(two_processes) and len(serving(two_processes)) == 2, 30, "a new process")
    two_processes.wait_ready()
    assert {value(url, "ocr_http_requests_total", **lists) for _ in range(6)} == {15}


def serving(gateway: Gateway) -> list[int]:
    """The ids of the processes that answer."""
    found = []
    for child in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes() if Path(f"/proc/{child}").exists() else b""
        if b"spawn_main" in command:
            found.append(int(child))
    return found
