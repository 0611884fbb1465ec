"""The original API, as its plan specified it: the two answers of ``/api/v1/ocr``, its errors, its curl lines."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.contract.document import PageStatus
from shared.contract.events import PageRestarted
from shared.store.jobs import Store
from tests.integration.conftest import Script
from tests.integration.test_gateway_jobs import JOBS, newest, problem, stored
from tools.processes import Gateway
from tools.uploads import png, tiff
from tools.valkey import Valkey

OCR = "/api/v1/ocr"
Play = Callable[[str], Awaitable[None]]


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        yield client


async def call(api: httpx.AsyncClient, play: Play, data: bytes | None = None, **fields: str) -> httpx.Response:
    """Send a file while a worker plays the job."""
    waiting = asyncio.create_task(api.post(OCR, files={"file": ("a.png", data or png(1))}, data=fields))
    await play(await newest(api))
    return await waiting


def reading(script: Script, texts: Sequence[str]) -> Play:
    return lambda job_id: script.do(job_id, texts)


def pieces(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


async def test_streaming_is_the_default_and_byte_for_byte_as_planned(http: httpx.AsyncClient, script: Script) -> None:
    await script.report()

    async def play(job_id: str) -> None:
        claim = await script.take(job_id)
        await script.say(claim, 1, "# Title", "\n\nÄpfel")
        await script.end(claim, 1, "# Title\n\nÄpfel")
        await script.claims.finish(claim)

    answer = await call(http, play)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-job-id"] == await newest(http)
    assert answer.content.decode() == (
        'data: {"text": "# Title"}\n\ndata: {"text": "\\n\\nÄpfel"}\n\n'
        'data: {"text": "\\n"}\n\ndata: {"done": true}\n\n'
    )


async def test_one_answer_without_streaming(http: httpx.AsyncClient, script: Script) -> None:
    await script.report()
    answer = await call(http, reading(script, ["hello"]), stream="false")
    body = answer.json()
    assert (answer.status_code, body["text"]) == (200, "hello\n")
    assert (body["metadata"]["image_width"], body["metadata"]["image_height"]) == (200, 120)
    assert 0 <= body["metadata"]["processing_time"] < 30
    assert set(body) == {"text", "metadata"}
    assert answer.headers["x-job-id"] == await newest(http)


async def test_pages_read_side_by_side_are_told_in_their_order(http: httpx.AsyncClient, script: Script) -> None:
    await script.report()

    async def play(job_id: str) -> None:
        claim = await script.take(job_id)
        await script.say(claim, 2, "two, ")
        await script.say(claim, 1, "one, ")
        await script.say(claim, 2, "more of two")
        await script.end(claim, 2, "two, more of two")
        await script.say(claim, 1, "more of one")
        await script.end(claim, 3, "three")
        await script.end(claim, 1, "one, more of one")
        await script.claims.finish(claim)

    answer = await call(http, play, tiff([1, 2, 3]))
    told = pieces(answer)
    assert "".join(piece["text"] for piece in told[:-1]) == "one, more of one\n\ntwo, more of two\n\nthree\n"
    assert told[-1] == {"done": True}


async def test_a_page_that_is_read_again_voids_what_was_told(http: httpx.AsyncClient, script: Script) -> None:
    await script.report()

    async def play(job_id: str) -> None:
        claim = await script.take(job_id)
        await script.end(claim, 1, "one")
        await script.say(claim, 2, "wrong wrong wrong")
        await script.claims.stream(claim, [PageRestarted(page=2, reason="repetition")])
        await script.say(claim, 2, "right")
        await script.end(claim, 2, "right")
        await script.claims.finish(claim)

    told = pieces(await call(http, play, tiff([1, 2])))
    assert told == [
        {"text": "one"}, {"text": "\n\nwrong wrong wrong"}, {"reset": True}, {"text": "one"}, {"text": "\n\nright"},
        {"text": "\n"}, {"done": True},
    ]  # fmt: skip


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_failed_job_is_an_error(http: httpx.AsyncClient, script: Script, stream: str) -> None:
    await script.report()

    async def play(job_id: str) -> None:
        claim = await script.take(job_id)
        await script.say(claim, 1, "some")
        await script.end(claim, 1, status=PageStatus.FAILED, reason="inference-failed")
        await script.claims.finish(claim)

    answer = await call(http, play, stream=stream)
    if stream == "false":
        problem(answer, 409, "job-failed")
    else:
        assert answer.status_code == 200
        assert pieces(answer)[-1]["error"]["code"] == "job-failed"


async def test_without_a_ready_engine_the_call_is_refused_at_once(
    http: httpx.AsyncClient, script: Script, valkey: Valkey
) -> None:
    for state in ("", "loading", "dead"):
        if state:
            await script.report(state=state)
        answer = await http.post(OCR, files={"file": ("a.png", png(1))})
        problem(answer, 503, "engine-not-ready")
        assert int(answer.headers["retry-after"]) > 0
    assert stored(valkey) == set()


@pytest.mark.parametrize(
    ("files", "fields", "code"),
    [
        ({"other": ("a.png", b"x")}, {}, "bad-option"),
        ({"file": ("a.txt", b"words")}, {}, "unsupported-media"),
        ({"file": ("a.png", png(1))}, {"stream": "maybe"}, "bad-option"),
        ({"file": ("a.png", png(1))}, {"type": "x"}, "bad-option"),
        ({"file": ("a.png", png(1))}, {"prompt": "<image>"}, "bad-prompt"),
    ],
)
async def test_a_bad_call_is_refused_before_the_stream(
    http: httpx.AsyncClient, script: Script, valkey: Valkey, files: Any, fields: dict[str, str], code: str
) -> None:
    await script.report()
    problem(await http.post(OCR, files=files, data=fields), 400, code)
    assert stored(valkey) == set()


@pytest.mark.parametrize("stream", ["true", "false"])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_goes_away_cancels_the_job(
    http: httpx.AsyncClient, script: Script, store: Store, stream: str, begun: bool
) -> None:
    await script.report()
    async with httpx.AsyncClient(base_url=http.base_url) as leaving:
        sending = leaving.post(OCR, files={"file": ("a.png", png(1))}, data={"stream": stream})
        waiting = asyncio.create_task(sending)
        job_id = await newest(http)
        if begun:
            claim = await script.take(job_id)
            await script.say(claim, 1, "some text")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(20):
        while (await store.job(job_id)).status != "cancelled":
            await asyncio.sleep(0.02)


async def test_a_client_that_reads_to_the_end_cancels_nothing(http: httpx.AsyncClient, script: Script) -> None:
    await script.report()
    await call(http, reading(script, ["hello"]))
    job = (await http.get(f"{JOBS}/{await newest(http)}")).json()
    assert job["status"] == "succeeded"


def curl(gateway: Gateway, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["curl", "-sS", *arguments], stdout=subprocess.PIPE, text=True, cwd=folder)


async def test_the_curl_lines_of_the_plan(
    gateway: Gateway, http: httpx.AsyncClient, script: Script, tmp_path: Path
) -> None:
    """Health check, OCR request (non-streaming), OCR request (streaming), as they stand there."""
    (tmp_path / "test-data").mkdir()
    (tmp_path / "test-data" / "en_paper.png").write_bytes(png(1))
    await script.report(gpu_memory_used=40 * 1024**3)
    healthy = await asyncio.to_thread(curl(gateway, tmp_path, f"{gateway.url}/health").communicate)
    assert json.loads(healthy[0]) == {
        "status": "healthy",
        "engine_ready": True,
        "gpu_memory_used": "40GB",
        "workers_draining": 0,
    }
    form = ["-F", "file=@test-data/en_paper.png", "-F", "type=document"]
    whole = curl(gateway, tmp_path, "-X", "POST", f"{gateway.url}{OCR}", *form, "-F", "stream=false")
    await script.do(first := await newest(http), ["A paper"])
    assert json.loads((await asyncio.to_thread(whole.communicate))[0])["text"] == "A paper\n"
    streamed = curl(gateway, tmp_path, "-X", "POST", f"{gateway.url}{OCR}", *form, "-F", "stream=true", "--no-buffer")
    async with asyncio.timeout(20):
        while (second := await newest(http)) == first:
            await asyncio.sleep(0.02)
    await script.do(second, ["A paper"])
    lines = (await asyncio.to_thread(streamed.communicate))[0].split("\n\n")
    assert lines == ['data: {"text": "A paper"}', 'data: {"text": "\\n"}', 'data: {"done": true}', ""]
