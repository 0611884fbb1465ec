"""Webhooks by the real sender: what a receiver that is well, down, slow, lost or rude gets, and what the log says."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.contract.job import WebhookTarget
from shared.contract.options import Options
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets, new_secret
from shared.store.webhooks import Delivery, WebhookState, WebhookStore
from tests.conftest import make_settings
from tests.settings import settings_of
from tools.needs import needs
from tools.processes import WebhookSenderProcess, Worker
from tools.receiver import OK, OPENSSL, Receiver, certificate, verifies
from tools.uploads import png, submit
from tools.valkey import Valkey, free_port, wait_until
from worker.claims import Claims
from worker.webhooks.payload import LARGEST, build_body

QUICK = {"webhook_schedule": "0,0.05,0.05,0.05,0.05,0.05,0.05", "webhook_breaker_seconds": "0.05"}
SECRET = new_secret()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def kept() -> Iterator[list[WebhookSenderProcess]]:
    """The sender that tests share, if it runs."""
    processes: list[WebhookSenderProcess] = []
    yield processes
    for process in processes:
        process.kill()


@pytest.fixture
def sender(
    kept: list[WebhookSenderProcess], valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> WebhookSenderProcess:
    if not kept or not kept[-1].alive:
        kept.append(WebhookSenderProcess(tmp_path_factory.mktemp("kept"), valkey.url, webhook_secret=SECRET, **QUICK))
    return kept[-1]


@pytest.fixture
def start(
    tmp_path: Path, valkey: Valkey, kept: list[WebhookSenderProcess]
) -> Iterator[Callable[..., WebhookSenderProcess]]:
    """Senders of the test's own, and no other."""
    for process in kept:
        process.kill()
    started: list[WebhookSenderProcess] = []

    def make(name: str = "hooks", **settings: Any) -> WebhookSenderProcess:
        started.append(
            WebhookSenderProcess(tmp_path, valkey.url, name, **{"webhook_secret": SECRET, **QUICK, **settings})
        )
        return started[-1]

    yield make
    for process in started:
        process.kill()


async def ended_job(store: Store, url: str, events: tuple[str, ...] = ("job.cancelled",), **more: Any) -> str:
    job_id = await submit(store, b"x", "image/png", webhook=WebhookTarget(url=url, events=events), **more)
    await store.cancel(job_id)
    return job_id


async def until(store: Store, job_id: str, *statuses: str, seconds: float = 40) -> WebhookState:
    hooks = WebhookStore(store.redis, settings_of(store))
    deadline = time.monotonic() + seconds
    while True:
        found = await hooks.webhooks(job_id)
        if found and found[0].status in statuses:
            return found[0]
        assert time.monotonic() < deadline, (found, await hooks.deliveries(job_id))
        await asyncio.sleep(0.02)


async def deliveries(store: Store, job_id: str) -> list[Delivery]:
    return await WebhookStore(store.redis, settings_of(store)).deliveries(job_id)


async def test_a_webhook_arrives_signed_and_thin(
    store: Store, sender: WebhookSenderProcess, receiver: Receiver
) -> None:
    events = ("job.cancelled",)
    metadata = {"order": "17 – ä"}
    job_id = await ended_job(store, f"{receiver.url}/hook?a=1", events, metadata=metadata)
    await until(store, job_id, "delivered")
    (call,) = receiver.calls
    assert verifies(call, SECRET)
    assert call.path == "/hook?a=1"
    assert (call.id, call.headers["content-type"]) == (f"msg_{job_id}_cancelled", "application/json")
    body = call.json
    assert set(body) == {"type", "timestamp", "data"}
    assert (body["type"], body["data"]["id"], body["data"]["status"]) == ("job.cancelled", job_id, "cancelled")
    assert body["data"]["metadata"] == metadata
    assert body["timestamp"] == body["data"]["completed_at"]
    assert body["data"]["urls"]["self"].endswith(f"/api/v1/jobs/{job_id}")
    assert "pages" not in body["data"]
    assert len(call.body) < 20_000
    (delivery,) = await deliveries(store, job_id)
    assert (delivery.number, delivery.status_code, delivery.error) == (1, 204, None)


async def test_a_receiver_that_is_down_is_tried_seven_times_and_then_the_webhook_is_exhausted(
    store: Store, sender: WebhookSenderProcess
) -> None:
    job_id = await ended_job(store, f"http://127.0.0.1:{free_port()}/")
    await until(store, job_id, "exhausted")
    log = await deliveries(store, job_id)
    assert [(entry.number, entry.status_code, entry.error) for entry in log] == [
        (number, None, "no connection") for number in range(1, 8)
    ]


async def test_every_try_sends_the_same_id_and_bytes_signed_anew(
    store: Store, sender: WebhookSenderProcess, receiver: Receiver
) -> None:
    receiver.answer = lambda _call, number: (500, {}) if number < 4 else OK
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "delivered")
    assert len(receiver.calls) == 4
    assert {(call.id, call.body) for call in receiver.calls} == {(f"msg_{job_id}_cancelled", receiver.calls[0].body)}
    assert all(verifies(call, SECRET) for call in receiver.calls)
    assert [entry.status_code for entry in await deliveries(store, job_id)] == [500, 500, 500, 204]


async def test_a_slow_receiver_is_left_after_the_timeout_and_tried_again(
    store: Store, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    start(webhook_timeout=0.3)
    patience = threading.Event()
    receiver.answer = lambda _call, number: (patience.wait(20) and OK) or OK if number == 1 else OK
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "delivered")
    patience.set()
    first, second = await deliveries(store, job_id)
    assert (first.status_code, first.error) == (None, "the receiver took too long")
    assert second.status_code == 204


async def test_a_redirect_to_this_machine_is_a_failure_and_not_followed(
    store: Store, sender: WebhookSenderProcess, receiver: Receiver
) -> None:
    inside = Receiver()
    receiver.answer = lambda _call, _number: (302, {"Location": f"{inside.url}/admin"})
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "exhausted")
    log = await deliveries(store, job_id)
    assert {(entry.status_code, entry.error) for entry in log} == {(302, "redirects are not followed")}
    assert (len(log), inside.calls) == (7, [])
    inside.close()


async def test_410_stops_at_once(store: Store, sender: WebhookSenderProcess, receiver: Receiver) -> None:
    receiver.answer = lambda _call, _number: (410, {})
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "gone")
    assert [entry.status_code for entry in await deliveries(store, job_id)] == [410]
    assert len(receiver.calls) == 1


@pytest.mark.parametrize("given", ["120", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_retry_after_moves_the_next_try(
    store: Store, sender: WebhookSenderProcess, receiver: Receiver, given: str
) -> None:
    receiver.answer = lambda _call, _number: (503, {"Retry-After": given})
    job_id = await ended_job(store, f"{receiver.url}/")
    wait_until(lambda: receiver.calls)
    state = await until(store, job_id, "pending")
    assert state.next_at is not None
    assert state.next_at - state.created_at >= 100
    assert len(receiver.calls) == 1


async def test_a_refused_address_is_written_down_and_never_called(
    store: Store, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    start(webhook_allow="")
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "exhausted")
    assert {entry.error for entry in await deliveries(store, job_id)} == {"refused: its address is not a public one"}
    assert receiver.calls == []


async def test_proxy_variables_change_nothing(
    store: Store, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    proxy = Receiver()
    start(http_proxy=proxy.url, https_proxy=proxy.url, all_proxy=proxy.url)
    await until(store, await ended_job(store, f"{receiver.url}/"), "delivered")
    assert (len(receiver.calls), proxy.calls) == (1, [])
    proxy.close()


async def test_a_sender_killed_while_sending_still_delivers_with_the_same_id(
    store: Store, valkey: Valkey, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    release = threading.Event()
    receiver.answer = lambda _call, number: (release.wait(30) and OK) or OK if number == 1 else OK
    first = start("first", webhook_timeout=2)
    job_id = await ended_job(store, f"{receiver.url}/")
    wait_until(lambda: receiver.calls)
    first.kill()
    release.set()
    valkey.client.zadd("hooks:due", {f"msg_{job_id}_cancelled": 1})  # its lease is over
    start("second", webhook_timeout=2)
    await until(store, job_id, "delivered", seconds=60)
    assert [call.id for call in receiver.calls] == [f"msg_{job_id}_cancelled"] * 2
    assert receiver.calls[0].body == receiver.calls[1].body
    assert [entry.error for entry in await deliveries(store, job_id)] == ["sender-lost", None]


async def test_a_worker_killed_between_the_end_of_a_job_and_its_webhook_changes_nothing(
    store: Store, valkey: Valkey, tmp_path: Path, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    worker = Worker(tmp_path, valkey.url).wait_ready()
    events = ("job.started", "job.succeeded")
    job_id = await submit(store, png(1), "image/png", webhook=WebhookTarget(url=f"{receiver.url}/", events=events))
    wait_until(lambda: valkey.client.exists(f"hook:msg_{job_id}_succeeded"))
    worker.kill()
    assert receiver.calls == []
    start()
    wait_until(lambda: len(receiver.calls) == 2)
    assert {call.id for call in receiver.calls} == {f"msg_{job_id}_started", f"msg_{job_id}_succeeded"}
    bodies = {call.json["type"]: call.json["data"]["status"] for call in receiver.calls}
    assert bodies == {"job.started": "processing", "job.succeeded": "succeeded"}
    assert all(verifies(call, SECRET) for call in receiver.calls)


async def test_a_message_that_redis_lost_is_sent_again(store: Store, valkey: Valkey, receiver: Receiver) -> None:
    """The broker's list is a hint: emptied, the lease still brings the webhook back."""
    settings = make_settings(valkey.url)
    hooks = WebhookStore(connect(valkey.url, patient=False), settings)
    job_id = await ended_job(store, f"{receiver.url}/")
    assert await hooks.dispatch() == 1
    assert valkey.client.llen("webhooks") == 1
    valkey.client.delete("webhooks")
    valkey.client.zadd("hooks:due", {f"msg_{job_id}_cancelled": 1})
    assert await hooks.dispatch() == 1
    assert valkey.client.llen("webhooks") == 1
    await hooks.redis.aclose()


async def test_one_slow_receiver_delays_nobody(
    store: Store, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    sender = start(webhook_timeout=60, webhook_in_flight=16)
    hold = threading.Event()
    slow = Receiver(lambda _call, _number: (hold.wait(60) and OK) or OK)
    held = [await ended_job(store, f"{slow.url}/{n}") for n in range(30)]
    wait_until(lambda: len(slow.calls) == 4)
    quick = [await ended_job(store, f"{receiver.url}/{n}") for n in range(20)]
    for job_id in quick:
        await until(store, job_id, "delivered")
    assert len(slow.calls) == 4
    hold.set()
    for job_id in held:
        await until(store, job_id, "delivered")
    assert sorted(call.id for call in slow.calls) == sorted(f"msg_{job_id}_cancelled" for job_id in held)
    slow.close()
    assert sender.stop() == 0


async def test_two_senders_send_each_webhook_once(
    store: Store, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    both = [start("one").wait_ready(), start("two").wait_ready()]
    jobs = [await ended_job(store, f"{receiver.url}/{n % 7}", owner=f"o{n % 5}") for n in range(60)]
    for job_id in jobs:
        await until(store, job_id, "delivered")
    assert sorted(call.id for call in receiver.calls) == sorted(f"msg_{job_id}_cancelled" for job_id in jobs)
    assert [sender.stop() for sender in both] == [0, 0]
    assert all("delivered" in sender.text() for sender in both)


async def test_while_a_secret_rotates_both_sign(store: Store, sender: WebhookSenderProcess, receiver: Receiver) -> None:
    signing = WebhookSecrets(store.redis, settings_of(store))
    old = (await signing.secrets("key-1")).current
    new = await signing.rotate("key-1")
    assert (new.previous, new.current != old) == (old, True)
    await until(store, await ended_job(store, f"{receiver.url}/", owner="key-1"), "delivered")
    (call,) = receiver.calls
    assert len(call.headers["webhook-signature"].split(" ")) == 2
    assert (verifies(call, old), verifies(call, new.current), verifies(call, SECRET)) == (True, True, False)


async def test_a_secret_that_rotated_a_day_ago_signs_no_more(store: Store, valkey: Valkey) -> None:
    signing = WebhookSecrets(store.redis, settings_of(store))
    first = await signing.secrets("key-1")
    assert await signing.secrets("key-1") == first
    second = await signing.rotate("key-1")
    valkey.client.hset("secret:key-1", "till", 1)
    after = await signing.secrets("key-1")
    assert (after.current, after.previous) == (second.current, None)
    assert first.current.encode() not in valkey.client.hvals("secret:key-1")


async def test_sent_again_by_hand_it_arrives_again_with_the_same_id(
    store: Store, sender: WebhookSenderProcess, receiver: Receiver
) -> None:
    job_id = await ended_job(store, f"{receiver.url}/")
    await until(store, job_id, "delivered")
    await WebhookStore(store.redis, settings_of(store)).send_again(job_id, 1)
    wait_until(lambda: len(receiver.calls) == 2)
    assert len({(call.id, call.body) for call in receiver.calls}) == 1


async def test_a_redis_that_goes_away_and_comes_back_loses_no_webhook(
    tmp_path: Path, start: Callable[..., WebhookSenderProcess], receiver: Receiver
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    own = Valkey(folder)
    settings = make_settings(own.url)
    store = Store(connect(own.url, patient=True), settings)
    process = WebhookSenderProcess(tmp_path, own.url, "own", webhook_secret=SECRET, **QUICK).wait_ready()
    try:
        before = await ended_job(store, f"{receiver.url}/before")
        await until(store, before, "delivered")
        own.stop()
        own.start()
        after = await ended_job(store, f"{receiver.url}/after")
        await until(store, after, "delivered", seconds=60)
        assert process.alive
    finally:
        process.kill()
        await store.redis.aclose()
        own.stop()


async def test_the_largest_job_makes_a_body_under_20_kb(claims: Claims, store: Store) -> None:
    webhook = WebhookTarget(url="https://example.org/" + "p" * 2000, events=("job.cancelled",))
    job_id = await submit(
        store, b"x", "image/png", webhook=webhook, metadata={"m": "\x01" * 4000},
        options=Options(prompt="\U0001f600" * 2000),
    )  # fmt: skip
    body = build_body("job.cancelled", 0.0, await store.job(job_id), settings_of(store))
    assert len(body) < LARGEST
    assert json.loads(body)["data"]["webhook"]["url"] == webhook.url


@needs(OPENSSL, "openssl")
@pytest.mark.parametrize(
    ("name", "trusted", "state"),
    [("127.0.0.1", True, "delivered"), ("127.0.0.1", False, "exhausted"), ("127.0.0.2", True, "exhausted")],
    ids=["of a trusted authority", "of nobody known", "for another name"],
)
async def test_https_is_spoken_with_whom_the_certificate_is_for(
    store: Store, start: Callable[..., WebhookSenderProcess], tmp_path: Path, name: str, trusted: bool, state: str
) -> None:
    made = certificate(tmp_path, name)
    receiver = Receiver(certificate=made)
    start(webhook_allow_http="false", **({"webhook_ca_file": made["certfile"]} if trusted else {}))
    job_id = await ended_job(store, f"{receiver.url}/")
    assert (await until(store, job_id, "delivered", "exhausted")).status == state
    errors = {entry.error for entry in await deliveries(store, job_id)}
    assert errors == ({None} if state == "delivered" else {"the receiver's certificate cannot be trusted"})
    assert len(receiver.calls) == (state == "delivered")
    receiver.close()


async def test_a_sender_that_cannot_start_says_why_and_exits_non_zero(
    start: Callable[..., WebhookSenderProcess],
) -> None:
    """Its supervisor must see that: a sender with exit code 0 would count as one that was told to stop."""
    sender = start(webhook_allow="intranet/99")
    assert await asyncio.to_thread(sender.popen.wait, 30) not in (0, None)
    assert "intranet/99" in sender.text()
    assert " ready." not in sender.text()
