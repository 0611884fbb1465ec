"""The scripts of webhooks on the very edge of their limits, and what they leave: with a clock that stands still."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from shared.store import keyspace
from shared.store.jobs import Store
from tests.integration.still_clock import DAY, StillClock
from tests.integration.test_reuse_store import fields, lives, scores
from tests.integration.test_store_moments import accept
from tools.valkey import Valkey

LEASE = 30.0
KEEP = 207  # twice the 100 seconds of the result, and 7 more
WAIT = 5000.0
NUMBERS: Iterator[int] = itertools.count()
ENDPOINT = "me https://a.test"
GATES = (ENDPOINT, "owner me")


async def due(store: Store, job_id: str = "J1", url: str = "https://a.test/hook", **more: Any) -> str:
    """The id of a webhook that is due: of a job that was cancelled."""
    said = ("webhook_url", url, "webhook_events", "job.cancelled", "webhook_ttl", 7)
    assert await accept(store, job_id, *said, jobs_most=99, pages_most=999, bytes_most=9999, **more) == [
        b"ok", job_id.encode(),
    ]  # fmt: skip
    await store.scripts.run("cancel", job_id, "o")
    return f"msg_{job_id}_cancelled"


async def take(store: Store, operation: str = "", **more: int) -> list[tuple[str, int]]:
    """What a sender leases: ids and tokens."""
    at: dict[str, int] = {"most": 100, "in_flight": 50, "of_endpoint": 9, "of_owner": 9, "tries": 3} | more
    flat = await store.scripts.run(
        "webhook_take", at["most"], LEASE, at["in_flight"], at["of_endpoint"], at["of_owner"], at["tries"],
        operation or f"take-{next(NUMBERS)}",
    )  # fmt: skip
    return [(flat[i].decode(), int(flat[i + 1])) for i in range(0, len(flat), 2)]


async def begun(store: Store, webhook: str, token: int = 1) -> Any:
    return await store.scripts.run("webhook_begin", webhook, token, LEASE, f"begin-{next(NUMBERS)}")


async def end(store: Store, webhook: str, token: int = 1, outcome: str = "delivered", **more: Any) -> str:
    at: dict[str, Any] = {"status": 204, "problem": "", "seconds": 0.5, "wait": "", "failures": 5} | more
    reply = await store.scripts.run(
        "webhook_end", webhook, token, outcome, at["status"], at["problem"], at["seconds"], at["wait"], at["failures"],
        30, 600,
    )  # fmt: skip
    return str(reply.decode())


def deliveries(valkey: Valkey, job_id: str = "J1") -> list[dict[str, Any]]:
    return [json.loads(one) for one in cast("list[bytes]", valkey.client.lrange(keyspace.DELIVERIES(job_id), 0, -1))]


def in_flight(valkey: Valkey, gate: str) -> set[str]:
    return {name.decode() for name in cast("set[bytes]", valkey.client.smembers(keyspace.WEBHOOKS_AT_GATE(gate)))}


def status(valkey: Valkey, webhook: str) -> str:
    return fields(valkey, keyspace.WEBHOOK(webhook))["status"]


async def test_a_lease_is_written_down_at_both_gates(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhook = await due(store)
    valkey.client.expire(keyspace.WEBHOOK(webhook), 60)
    assert await take(store, "once") == await take(store, "once") == [(webhook, 1)]
    assert lives(valkey, keyspace.WEBHOOKS_TAKEN("once"), 60)
    assert valkey.client.smembers(keyspace.WEBHOOKS_LEASED()) == {webhook.encode()}
    for gate in GATES:
        assert in_flight(valkey, gate) == {webhook}
        assert lives(valkey, keyspace.WEBHOOKS_AT_GATE(gate), DAY)
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {webhook: clock.now + LEASE}
    assert fields(valkey, keyspace.WEBHOOK(webhook)).items() >= {"status": "leased", "takes": "1"}.items()
    assert lives(valkey, keyspace.WEBHOOK(webhook), DAY + LEASE)
    assert await take(store, "nothing") == []
    assert not valkey.client.exists(keyspace.WEBHOOKS_TAKEN("nothing"))


async def test_a_lease_ends_at_its_moment_and_not_before(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhook = await due(store)
    await take(store)
    clock.forward(LEASE - 0.25)
    assert await take(store) == []
    clock.forward(0.25)
    assert await take(store, in_flight=0) == [(webhook, 2)]  # what dead senders held comes first, room or none


async def test_a_try_is_counted_once_and_its_lease_begins_anew(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhook = await due(store)
    assert await begun(store, webhook, 0) == []  # nobody has taken it
    await take(store)
    now = clock.forward(10)
    for _ in range(2):
        flat = await store.scripts.run("webhook_begin", webhook, 1, LEASE, "begin")
        found = {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2], strict=True)}
        assert found == fields(valkey, keyspace.WEBHOOK(webhook))
    assert found.items() >= {"tries": "1", "status": "sending", "begun": f"{now}", "takes": "1"}.items()
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {webhook: now + LEASE}
    assert await begun(store, webhook) == []  # another try of the same lease
    assert await begun(store, webhook, 2) == []


async def test_the_body_takes_the_place_of_the_record(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhook = await due(store)
    await take(store)
    assert await store.scripts.run("webhook_body", webhook, 2, "stale") == 0
    assert "record" in fields(valkey, keyspace.WEBHOOK(webhook))
    for body in ("first", "second"):
        assert await store.scripts.run("webhook_body", webhook, 1, body) == 1
    found = fields(valkey, keyspace.WEBHOOK(webhook))
    assert (found["body"], "record" in found) == ("first", False)


async def test_a_webhook_that_has_gone_leaves_no_place_taken(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhook = await due(store)
    await take(store)
    valkey.client.delete(keyspace.WEBHOOK(webhook))
    clock.forward(LEASE)
    assert await take(store) == []
    assert not valkey.client.exists(keyspace.WEBHOOKS_LEASED(), keyspace.WEBHOOKS_DUE())


async def test_a_sender_that_died_is_written_down_and_the_last_try_ends_it(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    webhook = await due(store)
    began = clock.now
    for token in (1, 2):
        assert await take(store, tries=2) == [(webhook, token)]
        assert await begun(store, webhook, token)
        clock.forward(LEASE)
    assert await take(store, tries=2) == []
    assert deliveries(valkey) == [
        {"webhook_id": webhook, "event": "job.cancelled", "at": at, "status_code": None, "error": "sender-lost"}
        for at in (began, began + LEASE)
    ]
    assert lives(valkey, keyspace.DELIVERIES("J1"), KEEP)
    assert fields(valkey, keyspace.WEBHOOK(webhook)).items() >= {"status": "exhausted", "next": ""}.items()
    assert lives(valkey, keyspace.WEBHOOK(webhook), KEEP)
    assert fields(valkey, keyspace.COUNTERS())["hooks:exhausted"] == "1"
    assert not valkey.client.exists(keyspace.WEBHOOKS_LEASED(), keyspace.WEBHOOKS_DUE())
    assert [in_flight(valkey, gate) for gate in GATES] == [set(), set()]


# -- gates


async def test_as_one_ends_two_are_let_on_at_its_gate(store: Store, valkey: Valkey, clock: StillClock) -> None:
    webhooks = [await due(store, f"J{number}") for number in range(6)]
    for name in webhooks:
        valkey.client.expire(keyspace.WEBHOOK(name), 60)
    ((first, _),) = await take(store, of_endpoint=1)
    others = sorted(set(webhooks) - {first})
    waiting = keyspace.WEBHOOKS_WAITING(ENDPOINT)
    assert scores(valkey, waiting) == dict.fromkeys(others, clock.now)
    assert list(scores(valkey, keyspace.WEBHOOKS_DUE())) == [first]
    assert all(lives(valkey, keyspace.WEBHOOK(name), DAY) for name in others)
    valkey.client.delete(keyspace.WEBHOOK(others[0]))  # it has expired: nothing to let on
    await begun(store, first)
    now = clock.forward(1)
    assert await end(store, first) == "delivered"
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == dict.fromkeys(others[1:3], now)
    assert sorted(scores(valkey, waiting)) == others[3:]
    assert [in_flight(valkey, gate) for gate in GATES] == [set(), set()]


async def test_a_gate_of_the_owner_holds_back_what_goes_elsewhere(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    webhooks = [await due(store, f"J{number}", f"https://r{number}.test/") for number in range(3)]
    other = await due(store, "J9", "https://r0.test/", owner="you")
    taken = {name for name, _ in await take(store, of_owner=2)}
    assert (len(taken), other in taken) == (3, True)
    assert set(scores(valkey, keyspace.WEBHOOKS_WAITING("owner me"))) == set(webhooks) - taken


async def test_a_taker_takes_so_many_and_no_more_than_there_is_room_for(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    for number in range(6):
        await due(store, f"J{number}")
    assert len(await take(store, most=1)) == 1
    assert len(await take(store, in_flight=3)) == 2
    assert await take(store, in_flight=3) == []
    assert len(await take(store)) == 3


async def test_an_open_breaker_gives_up_what_was_leased_and_closes_at_its_moment(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    first, second, third = [await due(store, f"J{number}") for number in range(3)]
    assert len(await take(store, of_endpoint=2)) == 2
    held = in_flight(valkey, ENDPOINT)
    (waits,) = {first, second, third} - held
    now = clock.forward(LEASE)
    till = now + 100
    valkey.client.hset(keyspace.CIRCUIT_BREAKER(ENDPOINT), "till", till)
    assert await take(store) == []
    assert {status(valkey, name) for name in held} == {"pending"}
    assert not valkey.client.exists(keyspace.WEBHOOKS_LEASED())
    assert [in_flight(valkey, gate) for gate in GATES] == [set(), set()]
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == dict.fromkeys((first, second, third), till)  # let on, and back
    assert lives(valkey, keyspace.WEBHOOK(waits), DAY + 100)
    clock.set(till - 0.25)
    assert await take(store) == []
    clock.set(till)
    assert len(await take(store)) == 1  # one probes


async def test_a_breaker_moves_what_was_pending_without_letting_others_on(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    webhook = await due(store)
    valkey.client.hset(keyspace.CIRCUIT_BREAKER(ENDPOINT), "till", clock.now + 100)
    other = await due(store, "J2", "https://b.test/")
    valkey.client.zrem(keyspace.WEBHOOKS_DUE(), other)
    valkey.client.zadd(keyspace.WEBHOOKS_WAITING("owner me"), {other: clock.now})
    assert await take(store) == []
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {webhook: clock.now + 100}
    assert list(scores(valkey, keyspace.WEBHOOKS_WAITING("owner me"))) == [other]


async def test_a_probe_is_alone_at_its_endpoint_and_its_owner_goes_on_elsewhere(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    valkey.client.hset(keyspace.CIRCUIT_BREAKER(ENDPOINT), "till", clock.now)
    for number in range(3):
        await due(store, f"J{number}")
        await due(store, f"H{number}", "https://b.test/")  # they are looked at first
    assert [name for name, _ in await take(store)] == [f"msg_{job}_cancelled" for job in ("H0", "H1", "H2", "J0")]


# -- ends


@pytest.mark.parametrize("outcome", ["delivered", "gone"])
async def test_an_end_is_written_down_once(store: Store, valkey: Valkey, clock: StillClock, outcome: str) -> None:
    webhook = await due(store)
    await take(store)
    assert await end(store, webhook) == ""  # not begun
    await begun(store, webhook)
    valkey.client.hset(keyspace.CIRCUIT_BREAKER(ENDPOINT), "fails", 3)
    assert await end(store, webhook, 2) == ""
    for _ in range(2):
        assert await end(store, webhook, 1, outcome) == outcome
    assert deliveries(valkey) == [
        {"webhook_id": webhook, "event": "job.cancelled", "at": clock.now, "status_code": 204, "error": None,
         "seconds": 0.5},
    ]  # fmt: skip
    counters = fields(valkey, keyspace.COUNTERS())
    assert {name: n for name, n in counters.items() if name.startswith("hooks")} == {f"hooks:{outcome}": "1"}
    found = fields(valkey, keyspace.WEBHOOK(webhook))
    assert found.items() >= {"status": outcome, "next": "", "ended_token": "1", "ended_status": outcome}.items()
    assert fields(valkey, keyspace.HISTOGRAMS()).items() >= {"webhook|6": "1", "webhook|sum": "500000"}.items()
    kept = {keyspace.WEBHOOK(webhook), keyspace.WEBHOOKS_OF_JOB("J1"), keyspace.DELIVERIES("J1")}
    assert all(lives(valkey, key, KEEP) for key in kept)
    left = {name.decode() for name in cast("list[bytes]", valkey.client.keys("hook*"))}
    assert {name for name in left if not name.startswith("hooks:taken")} == {
        keyspace.WEBHOOK(webhook), keyspace.WEBHOOKS_OF_JOB("J1"),
    }  # fmt: skip


async def test_a_failed_try_is_due_again_and_opens_the_breaker_in_time(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    webhook = await due(store)
    await take(store)
    await begun(store, webhook)
    now = clock.forward(2)
    failed = {"status": "", "problem": "refused", "wait": WAIT, "failures": 1}
    for _ in range(2):
        assert await end(store, webhook, 1, "failed", **failed) == "pending"
    assert fields(valkey, keyspace.CIRCUIT_BREAKER(ENDPOINT)) == {"fails": "1", "till": f"{now + 30}"}
    assert lives(valkey, keyspace.CIRCUIT_BREAKER(ENDPOINT), DAY)
    found = fields(valkey, keyspace.WEBHOOK(webhook))
    assert found.items() >= {"status": "pending", "next": f"{now + WAIT}", "tries": "1"}.items()
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {webhook: now + WAIT}
    assert lives(valkey, keyspace.WEBHOOK(webhook), DAY + WAIT)
    assert lives(valkey, keyspace.DELIVERIES("J1"), KEEP + WAIT)
    assert lives(valkey, keyspace.WEBHOOKS_OF_JOB("J1"), KEEP + WAIT)
    assert fields(valkey, keyspace.COUNTERS())["hooks:failed"] == "1"
    assert [(one["status_code"], one["error"]) for one in deliveries(valkey)] == [(None, "refused")]
    clock.forward(WAIT)
    await take(store)
    await begun(store, webhook, 2)
    assert await end(store, webhook, 2, "failed", **(failed | {"wait": ""})) == "exhausted"
    counters = fields(valkey, keyspace.COUNTERS())
    assert (counters["hooks:failed"], counters["hooks:exhausted"]) == ("2", "1")
    assert scores(valkey, keyspace.WEBHOOKS_DUE()) == {}


async def test_of_a_deleted_job_deliveries_stay_until_its_last_webhook_has_ended(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    said = ("webhook_url", "https://a.test/", "webhook_events", "job.started,job.cancelled")
    await accept(store, "J1", *said)
    await store.scripts.run("claim", "J1", "t", "w", 15)
    await store.scripts.run("start", "J1", "t", "instant", "")
    await store.scripts.run("delete", "J1")
    first, second = [name for name, _ in await take(store)]
    for name in (first, second):
        await begun(store, name)
    await end(store, first)
    assert len(deliveries(valkey)) == 1
    assert valkey.client.lrange(keyspace.WEBHOOKS_OF_JOB("J1"), 0, -1) == [second.encode()]
    assert not valkey.client.exists(keyspace.WEBHOOK(first))
    await end(store, second)
    assert not valkey.client.exists(
        keyspace.WEBHOOK(second), keyspace.WEBHOOKS_OF_JOB("J1"), keyspace.DELIVERIES("J1")
    )  # fmt: skip


# -- by hand


async def test_what_is_sent_again_is_due_now_and_waits_at_no_gate(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    async def again(name: str, operation: str, most: int = 1) -> Any:
        return await store.scripts.run("webhook_again", name, most, operation)

    webhooks = [await due(store, f"J{number}") for number in range(2)]
    ((first, _),) = await take(store, of_endpoint=1)
    (waits,) = set(webhooks) - {first}
    assert await again("msg_J9_cancelled", "o") == b"gone"
    assert await again(first, "o") == b"busy"
    valkey.client.hset(keyspace.WEBHOOK(waits), "tries", 2)
    now = clock.forward(5)
    for _ in range(2):
        assert await again(waits, "o1") == b"ok"
    assert await again(waits, "o2") == b"often"
    assert scores(valkey, keyspace.WEBHOOKS_DUE())[waits] == now
    assert scores(valkey, keyspace.WEBHOOKS_WAITING(ENDPOINT)) == {}
    found = fields(valkey, keyspace.WEBHOOK(waits))
    assert found.items() >= {"status": "pending", "tries": "2", "next": f"{now}", "again": "1"}.items()
    await begun(store, first)
    assert await again(first, "o") == b"busy"
    await end(store, first)
    assert await again(first, "o") == b"ok"
    assert fields(valkey, keyspace.WEBHOOK(first)).items() >= {"status": "pending", "tries": "0"}.items()


async def test_a_former_secret_signs_to_its_moment_and_is_then_forgotten(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    async def ask(secret: str, what: str = "keep") -> Any:
        return await store.scripts.run("webhook_secret", "me", secret, what, 100)

    key, none = keyspace.WEBHOOK_SECRET("me"), [b"", b"0"]
    assert await ask("s1") == await ask("s2") == [b"s1", *none]
    till = clock.now + 100
    for secret in ("s2", "s2", "s1"):  # to one that signs already: nothing changes
        assert await ask(secret, "rotate") == [b"s2", b"s1", f"{till}".encode()]
        clock.forward(1)
    assert fields(valkey, key) == {"current": "s2", "previous": "s1", "till": f"{till}"}
    clock.set(till - 0.25)
    assert (await ask("s3"))[1] == b"s1"
    clock.set(till)
    assert await ask("s3") == [b"s2", *none]
    assert fields(valkey, key) == {"current": "s2"}


# -- the outbox


async def test_a_webhook_is_wanted_by_its_whole_name_and_with_a_receiver(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    url = "https://a.test/"
    for number, (where, events) in enumerate([("", "job.cancelled"), (url, "job.cancelledx"), (url, "jobxcancelled"),
                                              (url, "xjob.cancelled,job.started"), (url, "")]):  # fmt: skip
        await accept(store, f"J{number}", "webhook_url", where, "webhook_events", events)
        await store.scripts.run("cancel", f"J{number}", "o")
    await accept(store, "J8")  # of a version without them
    await store.scripts.run("cancel", "J8", "o")
    assert valkey.client.keys("hook*") == []
    await accept(store, "J9", "webhook_url", url, "webhook_events", "job.started,job.cancelled,job.failed")
    await store.scripts.run("cancel", "J9", "o")
    found = fields(valkey, keyspace.WEBHOOK("msg_J9_cancelled"))
    assert (found["keep"], found["request_id"], found["traceparent"]) == (str(200 + DAY), "", "")
