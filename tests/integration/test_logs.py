"""The logs of real processes: one format, one story per request id, and no secret in any line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hostile.make import pdf
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import Receiver
from tools.valkey import Valkey, wait_until

REQUEST = "trace-me-42"
KEY = "correct-horse-battery-staple-42"
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA=="
PASSWORD = "open-sesame-77"
FILE_NAME = "confidential-merger.pdf"
PROMPT = "what-the-prompt-says"
METADATA = "what-the-metadata-says"
TEXT = "what-the-document-says"
DOCUMENT = pdf([f"BT /F 24 Tf 72 700 Td ({TEXT}) Tj ET"] * 2, fonts=True)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Deployment:
    """A gateway, a worker and a sender that write JSON, and a receiver of webhooks."""

    def __init__(self, folder: Path, valkey: Valkey) -> None:
        self.receiver = Receiver()
        url, common = valkey.url, {"log_format": "json", "log_level": "info"}
        hooks = {"webhook_allow": "127.0.0.1", "webhook_allow_http": "true", "webhook_ports": ""}
        self.gateway = Gateway(folder, url, api_keys=f"alice={KEY}", webhook_secret=SECRET, **common, **hooks)
        self.processes: list[Process] = [
            self.gateway, Worker(folder, url, **common),
            WebhookSenderProcess(folder, url, webhook_secret=SECRET, **common),
        ]  # fmt: skip
        self.client = httpx.Client(base_url=self.gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=60)

    def text(self) -> str:
        return "".join(process.text() for process in self.processes)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def told(self, request_id: str) -> list[dict[str, Any]]:
        """What one grep over all logs finds, in the order of time."""
        found = [json.loads(line) for line in self.text().splitlines() if request_id in line]
        return sorted(found, key=lambda line: str(line["time"]))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, valkey_server: Valkey) -> Iterator[Deployment]:
    valkey_server.client.flushall()
    made = Deployment(tmp_path_factory.mktemp("logs"), valkey_server)
    try:
        for process in made.processes:
            process.wait_ready()  # type: ignore[attr-defined]
        yield made
    finally:
        made.client.close()
        for process in made.processes:
            process.kill()
        made.receiver.close()


def submit(deployment: Deployment, request_id: str, **fields: str) -> httpx.Response:
    return deployment.client.post(
        "/api/v1/jobs",
        files={"file": (FILE_NAME, DOCUMENT, "application/pdf")},
        data={"text_layer": "prefer", "webhook_url": f"{deployment.receiver.url}/hook?token={PASSWORD}", **fields},
        headers={"x-request-id": request_id, "prefer": "wait=30"},
    )


def test_one_grep_by_request_id_tells_the_story_over_all_processes(deployment: Deployment) -> None:
    job = submit(deployment, REQUEST).json()
    assert job["status"] == "succeeded"
    wait_until(lambda: any(line["event"] == "webhook.attempt" for line in deployment.told(REQUEST)), 20, "the webhook")
    story = deployment.told(REQUEST)
    events = [line["event"] for line in story if line["event"] != "request"]
    assert events == ["job.accepted", "job.started", "page.done", "page.done", "job.ended", "webhook.attempt"]
    assert {line["job"] for line in story} == {job["id"]}
    assert {line["key"] for line in story} == {"given.alice"}
    (request,) = [line for line in story if line["event"] == "request"]
    assert (request["method"], request["route"], request["status"]) == ("POST", "/api/v1/jobs", 200)
    assert sorted(line["page"] for line in story if line["event"] == "page.done") == [1, 2]
    (ended,) = [line for line in story if line["event"] == "job.ended"]
    assert (ended["status"], ended["pages"]) == ("succeeded", 2)
    assert ended["worker"]
    assert {call.headers["x-request-id"] for call in deployment.receiver.calls} >= {REQUEST}


def test_every_line_is_json_with_a_time_a_level_and_an_event(deployment: Deployment) -> None:
    lines = deployment.text().splitlines()
    assert lines
    assert [line for line in lines if not line.startswith("{")] == []
    for line in deployment.lines():
        assert TIME.fullmatch(line["time"])
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert line["event"]


def test_no_route_puts_a_secret_or_a_text_into_a_log(deployment: Deployment) -> None:
    more = {"password": PASSWORD, "metadata": json.dumps({"note": METADATA}), "prompt": PROMPT, "mode": "no-such-mode"}
    submit(deployment, "refused", **more)
    job_id = submit(deployment, "accepted", metadata=more["metadata"]).json()["id"]
    token = deployment.client.post(f"/api/v1/jobs/{job_id}/token").json()
    deployment.client.post(f"/api/v1/jobs/{job_id}/share", json={"expires_in": 60})
    secret = deployment.client.get("/api/v1/webhooks/secret").json()
    reached = every_route(deployment, job_id, token["token"])
    assert len(reached) > 25
    text = deployment.text()
    words = [TEXT, KEY, SECRET, PASSWORD, FILE_NAME, PROMPT, METADATA, token["token"], *secrets_in(secret)]
    assert [word for word in words if word in text] == []
    assert TEXT in deployment.client.get(f"/api/v1/jobs/{job_id}/result").text


def secrets_in(answer: dict[str, Any]) -> list[str]:
    return [value for value in answer.values() if isinstance(value, str) and value.startswith("whsec_")]


def every_route(deployment: Deployment, job_id: str, token: str) -> set[str]:
    """Ask every route, with secrets in its query, its headers and its body; the paths that were asked."""
    paths = deployment.client.get("/openapi.json").json()["paths"]
    headers = {"x-api-key": KEY, "cookie": f"session={PASSWORD}", "x-request-id": "every-route"}
    for path, methods in paths.items():
        if path.endswith("/events"):
            continue  # it does not end
        target = path.replace("{job_id}", job_id)
        target = re.sub(r"\{(number|page|n|index|block)\}", "1", target)
        target = re.sub(r"\{\w+\}", PASSWORD, target)
        for method in sorted(methods):
            if (method, path) == ("delete", "/api/v1/jobs/{job_id}"):
                continue
            deployment.client.request(
                method, target, params={"token": token, "q": METADATA}, headers=headers, content=PASSWORD.encode()
            )
    return set(paths)
