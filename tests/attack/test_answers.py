"""A whole run, good calls and bad: no answer tells of the inside, every one forbids guessing, no log holds a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.attack.conftest import KEY, REDIS_PASSWORD, AttackTarget
from tools.receiver import Receiver, verifies
from tools.uploads import png, tiff
from tools.valkey import ROOT, wait_until

JOBS = "/api/v1/jobs"
INSIDE = re.compile(
    r"Traceback|File \"|site-packages|/usr/lib|/home/|/root/|\.py\b|line \d+, in|redis://|redis\.exceptions"
    r"|ConnectionError|pydantic|starlette|lua|EVALSHA",
    re.IGNORECASE,
)
HOOK_PATH = "/hook/with-a-secret-of-the-receivers-own-5ab1"
NAME = "../../etc/passwd\r\nX-Evil: 1\x00<script>.png"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


PUBLIC_PATHS = (
    "/health", "/models", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/problems/not-found",
)  # fmt: skip
STRANGE_PATHS = (
    "/", "/.env", "/..%2f..%2fetc/passwd", "/static/../app.py", "/api/v1/jobs/../../../etc/passwd", "/%00",
    f"{JOBS}/{'x' * 4000}", f"{JOBS}/*", f"{JOBS}/{{}}", f"{JOBS}/%0d%0aX-Evil:1", f"{JOBS}?limit=-1",
)  # fmt: skip


def submit_what_is_refused(call: Callable[..., httpx.Response]) -> None:
    for data in (b"", b"\x00" * 100, b"%PDF-1.7\n", png(1)[:40], b"<svg onload=alert(1)>"):
        call("POST", JOBS, files={"file": (NAME, data)})
    call("POST", JOBS, content=b"not a form", headers={"Content-Type": "multipart/form-data; boundary=x"})
    call("POST", JOBS, content=b"{", headers={"Content-Type": "application/json"})
    call("POST", JOBS, files={"file": ("a.png", png(1))}, data={"webhook_url": "http://169.254.169.254/"})
    call("POST", JOBS, files={"file": ("a.png", png(1))}, data={"metadata": "[" * 10_000})


@pytest.fixture(scope="module")
def run(target: AttackTarget, receiver: Receiver) -> dict[str, Any]:
    """Every kind of call there is, once: their answers, and the token that was made."""
    answers: list[httpx.Response] = []
    with target.client() as client, target.client(key=False) as stranger:

        def call(method: str, path: str, by: httpx.Client = client, **more: Any) -> httpx.Response:
            answers.append(by.request(method, path, **more))
            return answers[-1]

        form = {"webhook_url": f"{receiver.url}{HOOK_PATH}", "metadata": '{"a": 1}'}
        wait = {"Prefer": "wait=30"}
        job = call("POST", JOBS, files={"file": ("a.tiff", tiff([1, 2]))}, data=form, headers=wait).json()
        evil = call("POST", JOBS, files={"file": (NAME, png(3))}, headers=wait).json()
        assert (job["status"], evil["status"]) == ("succeeded", "succeeded")
        token = call("POST", f"{JOBS}/{job['id']}/token").json()["token"]
        call("GET", f"{JOBS}/{job['id']}/events", stranger, params={"token": token})
        call("GET", f"{JOBS}/{job['id']}/events", stranger, params={"token": token + "x"})
        for one in (job["id"], evil["id"]):
            for path in ("", "/pages/1", "/pages/1/image", "/pages/1/image?boxes=true", "/pages/9", "/deliveries"):
                call("GET", f"{JOBS}/{one}{path}")
            for kind in ("md", "json", "html", "txt", "zip", "exe"):
                call("GET", f"{JOBS}/{one}/result", params={"format": kind})
        wait_until(lambda: receiver.calls)
        call("POST", f"{JOBS}/{job['id']}/deliveries/1/redeliver")
        for path in PUBLIC_PATHS:
            call("GET", path, stranger)
        for path in STRANGE_PATHS:
            call("GET", path)
        submit_what_is_refused(call)
        call("POST", "/api/v1/ocr", files={"file": ("a.png", png(4))}, data={"stream": "false"})
        call("POST", "/api/v1/ocr", files={"file": ("a.png", png(5))}, data={"stream": "true"})
        call("POST", "/api/v1/batches", files=[("file", ("a.png", png(6))), ("file", ("b.png", b"junk"))])
        secret = call("GET", "/api/v1/webhooks/secret").json()["secret"]
        call("PATCH", JOBS)
        call("GET", JOBS, stranger)
        call("GET", JOBS, stranger, headers={"X-API-Key": KEY + "x"})
        call("DELETE", f"{JOBS}/{job['id']}")
    return {"answers": answers, "token": token, "secret": secret}


def test_nothing_is_a_server_error_and_everything_was_tried(run: dict[str, Any]) -> None:
    statuses = [answer.status_code for answer in run["answers"]]
    assert max(statuses) < 500
    assert {200, 202, 201, 204, 400, 401, 404, 405} <= set(statuses)


def test_no_answer_tells_of_the_inside(run: dict[str, Any]) -> None:
    for answer in run["answers"]:
        text = " ".join([answer.text, *(f"{name}: {value}" for name, value in answer.headers.items())])
        if answer.url.path in ("/docs", "/openapi.json", "/metrics"):
            text = text.replace(".py", "")  # examples in Python, and the numbers of the interpreter
        found = INSIDE.search(text)
        assert found is None, (answer.url, found, text[:300])
        assert str(ROOT) not in text
        assert "server" not in answer.headers


def test_every_answer_forbids_guessing_and_names_its_request(run: dict[str, Any]) -> None:
    for answer in run["answers"]:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        assert "default-src 'none'" in answer.headers["content-security-policy"] or answer.url.path == "/docs"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch(r"[0-9A-Za-z]{26}", answer.headers["x-request-id"])


def test_refusals_are_problems(run: dict[str, Any]) -> None:
    for answer in run["answers"]:
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", answer.url
            assert json.loads(answer.text)["request_id"] == answer.headers["x-request-id"]


def test_a_hostile_filename_surfaces_clean(run: dict[str, Any]) -> None:
    assert all("x-evil" not in answer.headers for answer in run["answers"])
    for answer in run["answers"]:
        for value in (answer.headers.get("content-disposition", ""), answer.text):
            assert "etc/passwd\r" not in value
            assert "<script>.png" not in value


def test_the_webhook_came_signed(run: dict[str, Any], receiver: Receiver) -> None:
    assert all(verifies(call, run["secret"]) for call in receiver.calls)


def test_no_log_of_the_whole_run_holds_a_secret(run: dict[str, Any], target: AttackTarget) -> None:
    logs = target.logs()
    assert f" method=POST route={JOBS} " in logs  # requests are logged at all, without their queries
    assert "?token=" not in logs
    secrets = {
        "key": KEY, "store": REDIS_PASSWORD, "webhooks": target.webhook_secret, "own webhooks": run["secret"],
        "token": run["token"], "receiver": HOOK_PATH,
    }  # fmt: skip
    assert [name for name, secret in secrets.items() if secret in logs] == []
    assert run["token"].rpartition(".")[2] not in logs
