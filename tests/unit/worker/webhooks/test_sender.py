"""One delivery by the sender itself: the rules are read for each try, and the log says in a word what happened."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpcore
import pytest

from shared.contract.job import WebhookTarget
from shared.ssrf_guard import Blocked, SsrfGuard, Unresolved
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import Delivery, Lease, Outcome, WebhookStore
from tests.conftest import make_settings
from tests.settings import Settings, settings_of
from tools.needs import needs
from tools.receiver import OK, OPENSSL, Answer, ReceivedCall, Receiver, certificate, verifies
from tools.uploads import submit
from tools.valkey import Valkey
from worker.outcome import TaskState
from worker.webhooks.sender import AGENT, WebhookSender, explain, judge, read_retry_after


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Sending:
    """A sender with these settings, over the store of a job that was cancelled: one webhook is due."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.webhooks = WebhookStore(store.redis, settings)
        self.sender = WebhookSender(settings, store.redis, self.webhooks)

    async def due(self, url: str, **more: Any) -> Lease:
        target = WebhookTarget(url=url, events=("job.cancelled",))
        self.job_id = await submit(self.store, b"upload", "application/pdf", webhook=target, **more)
        await self.store.cancel(self.job_id)
        (lease,) = await self.webhooks.take()
        return lease

    async def log(self) -> list[Delivery]:
        return await self.webhooks.deliveries(self.job_id)


def local(valkey: Valkey, **more: Any) -> Settings:
    """Settings that allow a receiver on this machine."""
    return make_settings(
        valkey.url, **{"webhook_allow": ("127.0.0.1",), "webhook_allow_http": True, "webhook_ports": (), **more}
    )


@pytest.fixture
async def sending(store: Store, valkey: Valkey) -> AsyncIterator[Sending]:
    made = Sending(store, local(valkey))
    yield made
    await made.sender.close()


async def test_a_delivery_is_signed_sent_and_logged(sending: Sending, receiver: Receiver, store: Store) -> None:
    lease = await sending.due(f"{receiver.url}/hook")
    assert (await sending.sender.send(lease)).state is TaskState.SUCCEEDED
    (call,) = receiver.calls
    secrets = await WebhookSecrets(store.redis, settings_of(store)).secrets("anonymous")
    assert verifies(call, secrets.current)
    assert (call.id, call.path, call.headers["content-type"]) == (lease.webhook_id, "/hook", "application/json")
    assert (call.headers["user-agent"], call.headers["accept"]) == (AGENT, "*/*")
    assert (call.json["type"], call.json["data"]["id"]) == ("job.cancelled", sending.job_id)
    (delivery,) = await sending.log()
    assert (delivery.number, delivery.status_code, delivery.error) == (1, 204, None)
    assert delivery.seconds is not None
    assert 0 <= delivery.seconds < 10


async def test_every_try_sends_the_same_bytes(sending: Sending, receiver: Receiver, store: Store) -> None:
    receiver.answer = lambda _call, number: (500, {}) if number == 1 else OK
    lease = await sending.due(f"{receiver.url}/hook")
    assert (await sending.sender.send(lease)).state is TaskState.GIVEN_BACK
    await store.delete(sending.job_id)
    await store.redis.zadd("hooks:due", {lease.webhook_id: 1})
    (again,) = await sending.webhooks.take()
    assert (await sending.sender.send(again)).state is TaskState.SUCCEEDED
    assert receiver.calls[0].body == receiver.calls[1].body


async def test_a_lease_that_is_no_longer_held_sends_nothing(sending: Sending, receiver: Receiver) -> None:
    lease = await sending.due(f"{receiver.url}/hook")
    other = Lease(lease.webhook_id, lease.token + 1)
    assert (await sending.sender.send(other)).state is TaskState.UNCHANGED
    assert receiver.calls == []


@pytest.mark.parametrize(
    ("rules", "error"),
    [
        ({"webhook_allow_http": False}, "refused: only https URLs are called"),
        ({"webhook_ports": (1,)}, r"refused: port \d+ is not called"),
        ({"webhook_allow": ()}, "refused: its address is not a public one"),
    ],
    ids=["scheme", "port", "address"],
)
async def test_a_receiver_that_was_allowed_at_submission_is_refused_once_it_no_longer_is(
    store: Store, valkey: Valkey, receiver: Receiver, rules: dict[str, Any], error: str
) -> None:
    sending = Sending(store, local(valkey, **rules))
    assert (await sending.sender.send(await sending.due(f"{receiver.url}/hook"))).state is TaskState.GIVEN_BACK
    (delivery,) = await sending.log()
    assert delivery.status_code is None
    assert re.fullmatch(error, delivery.error or "")
    assert receiver.calls == []
    await sending.sender.close()


async def test_a_receiver_that_takes_too_long_has_failed(store: Store, valkey: Valkey, receiver: Receiver) -> None:
    def slow(_call: ReceivedCall, _number: int) -> Answer:
        time.sleep(1)
        return OK

    receiver.answer = slow
    sending = Sending(store, local(valkey, webhook_timeout=0.2))
    assert (await sending.sender.send(await sending.due(f"{receiver.url}/hook"))).state is TaskState.GIVEN_BACK
    (delivery,) = await sending.log()
    assert (delivery.status_code, delivery.error) == (None, "the receiver took too long")
    await sending.sender.close()


@needs(OPENSSL, "openssl")
@pytest.mark.parametrize(("trusted", "state"), [(True, TaskState.SUCCEEDED), (False, TaskState.GIVEN_BACK)])
async def test_an_authority_of_the_operators_own_is_trusted_and_no_other(
    store: Store, valkey: Valkey, tmp_path: Path, trusted: bool, state: TaskState
) -> None:
    made = certificate(tmp_path, "127.0.0.1")
    receiver = Receiver(certificate=made)
    authority = made["certfile"] if trusted else None
    sending = Sending(store, local(valkey, webhook_allow_http=False, webhook_ca_file=authority))
    try:
        assert (await sending.sender.send(await sending.due(f"{receiver.url}/hook"))).state is state
        (delivery,) = await sending.log()
        assert delivery.error == (None if trusted else "the receiver's certificate cannot be trusted")
    finally:
        await sending.sender.close()
        receiver.close()


async def test_what_the_receiver_asks_for_moves_the_next_try(sending: Sending, receiver: Receiver) -> None:
    receiver.answer = lambda _call, _number: (503, {"Retry-After": "900"})
    await sending.sender.send(await sending.due(f"{receiver.url}/hook"))
    (webhook,) = await sending.webhooks.webhooks(sending.job_id)
    assert webhook.next_at is not None
    assert 890 < webhook.next_at - time.time() <= 901


class PatientReceiver:
    """Speaks HTTP/1.1, closes no connection, and answers nobody before ``together`` requests are there."""

    def __init__(self, together: int = 1) -> None:
        self.connections = 0
        self._together = together
        self._all_there = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> PatientReceiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if self.connections >= self._together:
                    self._all_there.set()
                await self._all_there.wait()
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def test_each_delivery_has_a_connection_of_its_own_so_that_the_name_is_looked_up_for_each(
    sending: Sending,
) -> None:
    async with PatientReceiver() as receiver:
        for _ in range(2):
            assert await sending.sender._post(receiver.url, {}, b"") == (204, "")
        assert receiver.connections == 2


async def test_no_receiver_waits_until_another_has_answered(sending: Sending) -> None:
    async with PatientReceiver(together=12) as receiver, asyncio.timeout(20):
        answers = await asyncio.gather(*(sending.sender._post(receiver.url, {}, b"") for _ in range(12)))
        assert answers == [(204, "")] * 12


async def test_a_receiver_that_cannot_be_reached_is_looked_for_once_a_try(store: Store, valkey: Valkey) -> None:
    asked = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    settings = local(valkey)
    guard = SsrfGuard(settings, resolve)
    sender = WebhookSender(settings, store.redis, WebhookStore(store.redis, settings), guard)
    with pytest.raises(httpcore.ConnectError):
        await sender._post("http://receiver.test:1/", {}, b"")
    assert asked == ["receiver.test"]
    await sender.close()


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (199, Outcome.FAILED, None), (200, Outcome.DELIVERED, None), (204, Outcome.DELIVERED, None),
        (299, Outcome.DELIVERED, None), (300, Outcome.FAILED, "redirects are not followed"),
        (307, Outcome.FAILED, "redirects are not followed"), (399, Outcome.FAILED, "redirects are not followed"),
        (400, Outcome.FAILED, None), (404, Outcome.FAILED, None), (410, Outcome.GONE, None),
        (429, Outcome.FAILED, None), (500, Outcome.FAILED, None),
    ],
)  # fmt: skip
def test_a_status_decides_what_became_of_a_delivery(status: int, outcome: Outcome, error: str | None) -> None:
    ended = judge(status, "7", 1.5)
    assert (ended.outcome, ended.seconds, ended.status_code, ended.error) == (outcome, 1.5, status, error)
    assert ended.retry_after == (7.0 if outcome is Outcome.FAILED else None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("0", 0.0), (" 120 ", 120.0), ("soon", None), ("-5", None), ("1.5", None), ("٣", None),
     ("9" * 30, 999_999_999_999.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0), ("Mon, 01 Jan 2001 00:00:00", 0.0)],
)  # fmt: skip
def test_retry_after_is_a_number_a_date_or_nonsense(text: str, seconds: float | None) -> None:
    assert read_retry_after(text) == seconds


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5)), None], ids=["UTC", "another zone", "none"])
def test_a_retry_after_date_counts_from_now(zone: Any) -> None:
    when = datetime.now(UTC) + timedelta(seconds=600)
    text = format_datetime(when.astimezone(zone) if zone else when.replace(tzinfo=None))
    assert 590 < (read_retry_after(text) or 0) <= 600


def after(context: BaseException) -> httpcore.ConnectError:
    """A ConnectError as httpcore raises it: its cause dropped, its context kept."""
    try:
        try:
            raise context
        except type(context):
            raise httpcore.ConnectError("failed") from None
    except httpcore.ConnectError as error:
        return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Blocked("its address is not a public one"), "refused: its address is not a public one"),
        (Unresolved("its name cannot be looked up just now"), "its name cannot be looked up just now"),
        (TimeoutError(), "the receiver took too long"),
        (httpcore.ReadTimeout("10.0.0.5"), "the receiver took too long"),
        (httpcore.ConnectError("10.0.0.5"), "no connection"),
        (after(OSError("10.0.0.5")), "no connection"),
        (after(ssl.SSLError("10.0.0.5")), "the receiver's certificate cannot be trusted"),
        (httpcore.ReadError("10.0.0.5"), "the receiver broke off or did not speak HTTP"),
        (httpcore.RemoteProtocolError("10.0.0.5"), "the receiver broke off or did not speak HTTP"),
        (RuntimeError("/etc/passwd"), "the delivery failed"),
    ],
)
def test_a_failure_is_told_in_words_that_name_no_address_and_no_path(error: Exception, words: str) -> None:
    assert explain(error) == words
    assert "10.0.0.5" not in json.dumps(words)


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of every attempt's line, without its time."""
    found = [record.fields for record in caplog.records if getattr(record, "event", "") == "webhook.attempt"]  # type: ignore[attr-defined]
    return [{name: value for name, value in fields.items() if name != "ms"} for fields in found]


def attempt(outcome: str, **more: Any) -> dict[str, Any]:
    return {"webhook_event": "job.cancelled", "attempt": 1, "outcome": outcome, **more}


async def test_each_try_is_one_line_in_the_log(
    sending: Sending, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lease = await sending.due(f"{receiver.url}/hook")
    await sending.sender.send(lease)
    assert logged(caplog) == [attempt("delivered", status=204)]
    told = receiver.calls[0].json["timestamp"]
    assert abs(datetime.fromisoformat(told).timestamp() - time.time()) < 30


async def test_a_receiver_that_is_not_there_is_told_with_the_time_it_took(
    sending: Sending, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lease = await sending.due("http://127.0.0.1:1/hook")
    assert (await sending.sender.send(lease)).state is TaskState.GIVEN_BACK
    (delivery,) = await sending.log()
    assert (delivery.error, 0 <= (delivery.seconds or 0) < 10) == ("no connection", True)
    assert logged(caplog) == [attempt("pending", reason="no connection")]


async def test_a_fault_of_our_own_is_logged_whole_and_told_as_a_failure(
    sending: Sending, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("/etc/passwd")

    monkeypatch.setattr(sending.sender, "_post", broken)
    lease = await sending.due(f"{receiver.url}/hook")
    assert (await sending.sender.send(lease)).state is TaskState.GIVEN_BACK
    assert [entry.error for entry in await sending.log()] == ["the delivery failed"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "the delivery failed"


async def test_a_sender_that_took_too_long_writes_nothing_down(
    sending: Sending, receiver: Receiver, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def taken_over(call: ReceivedCall, _number: int) -> Answer:
        valkey.client.hincrby(f"hook:{call.id}", "takes", 1)
        return OK

    receiver.answer = taken_over
    lease = await sending.due(f"{receiver.url}/hook")
    assert (await sending.sender.send(lease)).state is TaskState.UNCHANGED
    assert logged(caplog) == [attempt("fenced", status=204)]
    assert await sending.log() == []
