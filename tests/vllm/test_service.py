"""Upload to stored page through the whole service: gateway, Redis, worker, the real engine saying chosen answers."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.vllm.conftest import TEST_ARGS, page
from tools.processes import Gateway, Worker
from tools.valkey import Valkey, wait_until
from worker.broker.pool import EXIT_DEAD

ANSWER = (
    "<|ref|>title<|/ref|><|det|>[[100, 50, 900, 100]]<|/det|>\n# Rechnung 4711 — 発票 😀\n\n"
    "<|ref|>text<|/ref|><|det|>[[100, 200, 900, 500]]<|/det|>\nBitte zahlen Sie 1.234,56 €.\n\n"
    "<|ref|>image<|/ref|><|det|>[[0, 600, 499, 999]]<|/det|>\n"
)
MARKDOWN = "# Rechnung 4711 — 発票 😀\n\nBitte zahlen Sie 1.234,56 €.\n\n![](images/1_0.jpg)"
LOOP = "never and never again on this very page and " * 200
LONG = " ".join(f"{i * 7919 % 100003}" for i in range(4000))


@dataclass
class VllmService:
    folder: Path
    valkey: Valkey
    gateway: Gateway

    def worker(self, *answers: str) -> Worker:
        """A worker that is ready and says these answers."""
        file = self.folder / "answers.json"
        file.write_text(json.dumps(answers))
        made = Worker(
            self.folder,
            self.valkey.url,
            name=f"worker-{len(list(self.folder.iterdir()))}",
            engine="tests.vllm.forced:load",
            ocr_test_answers=file,
            model_path=os.environ["OCR_TINY_MODEL"],
            max_model_len=4096,
            max_num_seqs=8,
            max_num_batched_tokens=4096,
            preprocess_processes=1,
            vllm_args=json.dumps(TEST_ARGS),
        )
        made.wait_for(lambda: " engine.ready " in made.text(), 170, "a worker with a ready engine")
        return made

    def submit(self, **fields: str) -> str:
        """The same page again and again: each time it is to be read."""
        data = {"cache": "false", **fields}
        answer = httpx.post(f"{self.gateway.url}/api/v1/jobs", files={"file": upload()}, data=data)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.gateway.url}{path}", timeout=30)

    def ended(self, job: str) -> dict:
        return wait_until(lambda: self._if_over(job), 90, "the end of the job")

    def _if_over(self, job: str) -> dict | None:
        found = self.get(f"/api/v1/jobs/{job}").json()
        return found if found["status"] not in ("queued", "processing") else None


def said(events: str) -> str:
    """The text of the token events, joined."""
    data = [json.loads(line[5:]) for line in events.splitlines() if line.startswith("data:")]
    return "".join(found["text"] for found in data if set(found) >= {"page", "text"})


def upload() -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    page(1, 1000, 1400).image.save(buffer, "PNG")
    return ("page.png", buffer.getvalue(), "image/png")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmService]:
    folder = tmp_path_factory.mktemp("service")
    valkey = Valkey(folder)
    gateway = Gateway(folder, valkey.url)
    try:
        gateway.wait_ready()
        yield VllmService(folder, valkey, gateway)
    finally:
        gateway.stop()
        valkey.stop()


@pytest.fixture(scope="module")
def answering(service: VllmService) -> Iterator[Worker]:
    """It says these four, and then without end: the last test kills its engine meanwhile."""
    made = service.worker(ANSWER, ANSWER, LOOP, ANSWER, LONG)
    yield made
    made.stop(60)


def test_an_upload_becomes_stored_markdown_blocks_and_figures(service: VllmService, answering: Worker) -> None:
    job = service.ended(service.submit(mode="base"))
    assert (job["status"], job["engine"]) == ("succeeded", "deepseek-ocr")
    assert job["usage"]["prompt_tokens"] > 274
    (read,) = service.get(f"/api/v1/jobs/{job['id']}/result?format=json").json()["pages"]
    assert read["markdown"] == MARKDOWN
    assert [(block["type"], block["bbox"]) for block in read["blocks"]] == [
        ("title", [100, 70, 900, 140]), ("text", [100, 280, 900, 700]), ("image", [0, 840, 499, 1400]),
    ]  # fmt: skip
    assert read["figures"] == [{"name": "1_0.jpg", "bbox": [0, 840, 499, 1400]}]


def test_the_original_call_streams_the_text_as_it_is_generated(service: VllmService, answering: Worker) -> None:
    with httpx.stream("POST", f"{service.gateway.url}/api/v1/ocr", files={"file": upload()}, timeout=90) as answer:
        assert answer.status_code == 200
        events = [json.loads(line[5:]) for line in answer.iter_lines() if line.startswith("data:")]
    assert "".join(event.get("text", "") for event in events).strip() == MARKDOWN
    assert events[-1] == {"done": True}


def test_a_page_that_looped_is_read_again_and_watchers_are_told(service: VllmService, answering: Worker) -> None:
    job = service.ended(service.submit())
    assert (job["status"], job["pages"][0]["attempts"]) == ("succeeded", 2)
    before, _, after = service.get(f"/api/v1/jobs/{job['id']}/events").text.partition("event: page.restarted")
    assert said(before).startswith("never and never again")
    assert said(after) == MARKDOWN


def test_health_and_models_speak_of_this_engine(service: VllmService, answering: Worker) -> None:
    health = wait_until(lambda: (found := service.get("/health")).is_success and found.json())
    assert health == {"status": "healthy", "engine_ready": True, "gpu_memory_used": None, "workers_draining": 0}
    models = service.get("/models").json()
    assert models["model"] == "deepseek-ai/DeepSeek-OCR"
    assert models["modes"] == ["tiny", "small", "base", "large", "gundam"]


def test_an_engine_killed_under_a_page_costs_the_worker_not_the_job(service: VllmService, answering: Worker) -> None:
    job = service.submit()
    wait_until(lambda: "event: token" in _some_events(service, job), 60, "a first token")
    (core,) = (
        child for child in psutil.Process(answering.pid).children(recursive=True) if "EngineCore" in child.name()
    )
    core.send_signal(signal.SIGKILL)
    assert answering.popen.wait(60) == EXIT_DEAD
    second = service.worker(ANSWER)
    found = service.ended(job)
    assert (found["status"], found["pages"][0]["attempts"]) == ("succeeded", 2)
    assert second.stop(60) == 0


def _some_events(service: VllmService, job: str) -> str:
    """What the stream of events holds so far."""
    lines = []
    with httpx.stream("GET", f"{service.gateway.url}/api/v1/jobs/{job}/events", timeout=2) as answer:
        try:
            for line in answer.iter_lines():
                lines.append(line)
                if line == "event: token":
                    break
        except httpx.ReadTimeout:
            pass
    return "\n".join(lines)
