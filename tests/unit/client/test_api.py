"""The client against a service that is played: outages, refusals, and streams that break off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from ocr_client import AsyncClient, Client, Event, JobEnded, Problem, TimedOut, Unreachable

Answer = httpx.Response | Exception
Sent = tuple[str, str, dict[str, object]]
"""An event as the service sends it: id, name and data."""


def job(status: str = "queued", **more: object) -> dict[str, object]:
    progress = {"pages_total": 2, "pages_done": 0, "pages_failed": 0}
    return {
        "id": "01J", "status": status, "input": {"filename": "a.pdf", "page_range": "1-2"}, "progress": progress,
        "engine": None, "error": None, "urls": {}, "pages": [], **more,
    }  # fmt: skip


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"type": "t", "title": "T", "status": status, "detail": "Because.", "code": code, "request_id": "r"}
    return httpx.Response(status, headers={"content-type": "application/problem+json", **headers}, json=body)


class ScriptedService:
    """Gives its answers one after the other and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, patience: float = 30.0) -> Client:
        return Client("http://service", patience=patience, transport=httpx.MockTransport(self))


def stream(*events: Sent, broken: bool = False) -> httpx.Response:
    text = "retry: 0\n\n: ping\n\n"
    text += "".join(f"id: {i}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for i, name, data in events)

    def pieces() -> Iterator[bytes]:
        yield text.encode()
        if broken:
            raise httpx.ReadError("the connection was lost")

    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=pieces())


def test_a_submission_that_has_to_be_sent_again_keeps_its_idempotency_key() -> None:
    service = ScriptedService(
        problem(503, "store-unavailable", **{"retry-after": "0"}),
        httpx.ConnectError("refused"),
        httpx.Response(202, json=job()),
    )
    assert service.client().submit(b"x", filename="a.pdf").id == "01J"
    keys = {request.headers["idempotency-key"] for request in service.asked}
    assert len(service.asked) == 3
    assert len(keys) == 1


def test_options_are_sent_as_form_fields_and_metadata_as_json() -> None:
    service = ScriptedService(httpx.Response(202, json=job()))
    service.client().submit(b"x", filename="a.pdf", pages="1-2", mode=None, metadata={"a": 1}, deadline=30)
    sent = service.asked[0].content.decode()
    assert 'name="pages"\r\n\r\n1-2\r\n' in sent
    assert 'name="metadata"\r\n\r\n{"a": 1}\r\n' in sent
    assert 'name="deadline"\r\n\r\n30\r\n' in sent
    assert "mode" not in sent
    assert 'name="file"; filename="a.pdf"' in sent


def test_a_refusal_is_raised_at_once_with_its_code() -> None:
    service = ScriptedService(problem(400, "corrupt-file"))
    with pytest.raises(Problem) as caught:
        service.client().submit(b"x")
    assert (caught.value.code, caught.value.status, str(caught.value)) == (
        "corrupt-file",
        400,
        "Because. (corrupt-file)",
    )


def test_a_refusal_by_something_else_on_the_way_is_a_problem_too() -> None:
    with pytest.raises(Problem, match="Not Found"):
        ScriptedService(httpx.Response(404, text="<html>")).client().job("01J")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(429, "queue-full", **{"retry-after": "60"}), Problem),
        (problem(503, "store-unavailable"), Problem),
        (httpx.ConnectError("refused"), Unreachable),
    ],
)
def test_without_patience_what_would_pass_is_raised(answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        ScriptedService(answer).client(patience=0).job("01J")


def test_waiting_asks_the_service_to_wait_and_ends_with_the_job() -> None:
    waited = httpx.Response(200, json=job("processing"), headers={"preference-applied": "wait=30"})
    service = ScriptedService(waited, httpx.Response(200, json=job("succeeded")))
    assert service.client().wait("01J").status == "succeeded"
    assert [request.headers["prefer"] for request in service.asked] == ["wait=30", "wait=30"]


def test_waiting_ends_when_the_callers_time_is_up() -> None:
    with pytest.raises(TimedOut, match="job 01J continues"):
        ScriptedService(httpx.Response(200, json=job())).client().wait("01J", timeout=0)


def test_a_watcher_sees_every_look() -> None:
    seen = list[str]()
    applied = {"preference-applied": "wait=2"}
    service = ScriptedService(
        httpx.Response(200, json=job("processing"), headers=applied), httpx.Response(200, json=job("partial"))
    )
    service.client().wait("01J", watcher=lambda job: seen.append(job.status))
    assert seen == ["processing", "partial"]


def test_reading_a_file_whose_job_fails_says_why() -> None:
    failed = job("failed", error={"code": "deadline-exceeded", "detail": "Too late."})
    service = ScriptedService(httpx.Response(202, json=job()), httpx.Response(200, json=failed))
    with pytest.raises(JobEnded, match=r"a.pdf: Too late. \(deadline-exceeded\)"):
        service.client().read(b"x")


def test_a_result_that_is_not_there_yet_is_a_problem() -> None:
    with pytest.raises(Problem) as caught:
        ScriptedService(httpx.Response(202, json=job())).client().result("01J")
    assert caught.value.code == "not-finished"


FIRST: Sent = ("1-0", "status", {"status": "queued"})
SECOND: Sent = ("2-0", "token", {"text": "a"})
DONE: Sent = ("3-0", "done", {})
ALL = [Event(*event) for event in (FIRST, SECOND, DONE)]


@pytest.mark.parametrize("broken", [True, False], ids=["connection lost", "ended by the service"])
def test_a_stream_that_breaks_off_is_taken_up_where_it_ended(broken: bool) -> None:
    service = ScriptedService(stream(FIRST, SECOND, broken=broken), httpx.ConnectError("refused"), stream(DONE))
    assert list(service.client().events("01J")) == ALL
    assert [request.headers.get("last-event-id") for request in service.asked] == [None, "2-0", "2-0"]


def test_a_stream_that_was_read_to_its_end_is_over() -> None:
    service = ScriptedService(stream(FIRST, SECOND), httpx.Response(204))
    assert list(service.client().events("01J")) == ALL[:2]


def test_a_stream_of_an_unknown_job_is_a_problem() -> None:
    with pytest.raises(Problem, match="not-found"):
        list(ScriptedService(problem(404, "not-found")).client().events("01J"))


def test_a_stream_waits_out_a_store_that_is_away() -> None:
    service = ScriptedService(problem(503, "store-unavailable"), stream(FIRST, SECOND, DONE))
    assert list(service.client().events("01J")) == ALL


def test_listing_follows_the_cursor_to_its_end() -> None:
    service = ScriptedService(
        httpx.Response(200, json={"items": [job()], "next_cursor": "c"}),
        httpx.Response(200, json={"items": [job()], "next_cursor": None}),
    )
    assert len(list(service.client().jobs(status="queued"))) == 2
    assert service.asked[1].url.params["cursor"] == "c"


def test_a_batch_names_what_was_rejected() -> None:
    verdict = {"filename": "b.pdf", "problem": {"code": "file-empty", "detail": "Empty."}}
    body = {"id": "B", "counts": {"queued": 1}, "jobs": [job()], "rejected": [verdict]}
    batch = ScriptedService(httpx.Response(202, json=body)).client().submit_batch([b"x", b""])
    assert [one.id for one in batch.jobs] == ["01J"]
    assert [(one.filename, one.code) for one in batch.rejected] == [("b.pdf", "file-empty")]


def test_a_key_travels_as_a_bearer_token() -> None:
    service = ScriptedService(httpx.Response(200, json=job()))
    Client("http://service", "secret", transport=httpx.MockTransport(service)).job("01J")
    assert service.asked[0].headers["authorization"] == "Bearer secret"


def test_calls_without_a_body_to_read_succeed() -> None:
    calls: list[Callable[[Client], object]] = [lambda client: client.cancel("01J"), lambda client: client.delete("01J")]
    service = ScriptedService(httpx.Response(202), httpx.Response(204))
    for call in calls:
        call(service.client())
    assert [(request.method, request.url.path) for request in service.asked] == [
        ("POST", "/api/v1/jobs/01J/cancel"),
        ("DELETE", "/api/v1/jobs/01J"),
    ]


async def test_a_file_is_not_sent_again_when_the_reply_to_its_submission_was_lost() -> None:
    found = httpx.Response(200, json={"items": [job()], "next_cursor": None})
    service = ScriptedService(
        httpx.Response(200, json={"items": [], "next_cursor": None}), httpx.ReadError("the gateway was killed"), found
    )
    async with AsyncClient("http://service", transport=httpx.MockTransport(service)) as client:
        assert (await client.submit_once(b"x", key="k", pages="1")).id == "01J"
    assert [request.method for request in service.asked] == ["GET", "POST", "GET"]
    assert {request.url.params["idempotency_key"] for request in service.asked[::2]} == {"k"}


async def test_the_stream_of_the_client_for_asyncio_is_taken_up_where_it_ended() -> None:
    service = ScriptedService(astream(FIRST, SECOND, broken=True), problem(503, "store-unavailable"), astream(DONE))
    async with AsyncClient("http://service", transport=httpx.MockTransport(service)) as client:
        assert [event async for event in client.events("01J")] == ALL
    assert [request.headers.get("last-event-id") for request in service.asked] == [None, "2-0", "2-0"]


def astream(*events: Sent, broken: bool = False) -> httpx.Response:
    """As ``stream``, for the client for asyncio."""
    pieces = stream(*events, broken=broken).stream

    async def one_by_one() -> AsyncIterator[bytes]:
        assert isinstance(pieces, httpx.SyncByteStream)
        for piece in pieces:
            yield piece

    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=one_by_one())
