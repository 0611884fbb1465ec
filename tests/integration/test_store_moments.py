"""The scripts on the very edge of their limits, and their answers to the letter: with a clock that stands still."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from shared.store import keyspace
from shared.store.jobs import Store
from tests.integration.still_clock import DAY, MIDNIGHT, StillClock
from tests.integration.test_reuse_store import added, fields, lives, record, scores
from tools.valkey import Valkey

SAID = ("options", "{}", "max_age", 1000, "result_ttl", 100)
LEASE = 15.0  # by default


async def accept(store: Store, job_id: str = "J1", *said: str | int, **more: Any) -> Any:
    """The verdict of ``submit`` on a job of two pages and six bytes, and what belongs to it."""
    sizes = {"pages": 2, "bytes": 6, "jobs_most": 9, "pages_most": 9, "bytes_most": 99}
    at: dict[str, Any] = {**sizes, "rank": "3", "owner": "me", "batch": "", "deadline": "", "quota": "", **more}
    verdict, value, *_view = await store.scripts.run(
        "submit", job_id, b"upload", "message", at["pages"], at["bytes"], at["rank"], at["owner"], "", "print", 60,
        at["batch"], at["jobs_most"], at["pages_most"], at["bytes_most"], 20, at["deadline"], 5000, at["quota"],
        *SAID, *said,
    )  # fmt: skip
    return [verdict, value]


async def view(store: Store, job_id: str = "J1", with_summaries: int = 0) -> list[Any]:
    found: list[Any] = json.loads(await store.scripts.run("view", job_id, with_summaries))
    return found


async def begin(store: Store, job_id: str = "J1", claim: str = "t1", reader: str = "") -> None:
    """A worker claims the job and starts it."""
    assert (await store.scripts.run("claim", job_id, claim, "w", LEASE))[0] == b"ok"
    assert await store.scripts.run("start", job_id, claim, "instant", reader) > 0


async def end_page(store: Store, page: int = 1, step: int = 1, status: str = "ok") -> Any:
    summary = json.dumps({"number": page, "status": status, "reason": None})
    return await store.scripts.run(
        "page_end", "J1", "t1", page, step, status, "result", summary, "", b"", 1, 2, 0.5
    )  # fmt: skip


def events(valkey: Valkey, job_id: str = "J1") -> list[tuple[str, Any]]:
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", valkey.client.xrange(keyspace.EVENTS(job_id)))
    return [(entry[b"event"].decode(), json.loads(entry[b"data"])) for _, entry in found]


def histograms(valkey: Valkey) -> dict[str, str]:
    return fields(valkey, keyspace.HISTOGRAMS())


# -- taking in


@pytest.mark.parametrize("deadline", ["", 30])
async def test_a_job_that_is_taken_in_is_written_down_whole(
    store: Store, valkey: Valkey, clock: StillClock, deadline: str | int
) -> None:
    assert await accept(store, "J0", pages=3, rank="6") == [b"ok", b"J0"]
    assert await accept(store, rank="6", deadline=deadline) == [b"ok", b"J1"]
    now = clock.now
    assert record(valkey, "J1") == {
        "options": "{}", "max_age": "1000", "result_ttl": "100", "id": "J1", "owner": "me", "status": "queued",
        "created": f"{now}", "deadline": f"{now + 30}" if deadline else "", "rank": "6", "bytes": "6", "batch": "",
        "pages_total": "2", "pages_done": "0", "pages_failed": "0", "pages_degraded": "0", "attempt": "0",
        "requeues": "0", "token": "", "lease": "0", "error": "", "pages_submitted_before": "3", "before": "3",
    }  # fmt: skip
    assert valkey.client.get(keyspace.UPLOAD("J1")) == b"upload"
    assert fields(valkey, keyspace.COUNTERS()) == {
        "jobs": "2", "pages": "5", "bytes": "12", "submitted": "2", "submitted:6": "2", "sub:6": "5",
    }  # fmt: skip
    assert fields(valkey, keyspace.USAGE(MIDNIGHT // DAY)) == {"me|jobs": "2", "me|pages": "5", "me|bytes": "12"}
    assert lives(valkey, keyspace.USAGE(MIDNIGHT // DAY), 400 * DAY)
    assert scores(valkey, keyspace.WAITING("6")) == scores(valkey, keyspace.JOBS_OF_OWNER("me")) == dict.fromkeys(
        ("J0", "J1"), now
    )  # fmt: skip
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J0": now + 20, "J1": now + 20}
    assert events(valkey) == [("status", {"status": "queued"})]
    assert valkey.client.lrange(keyspace.QUEUE("6"), 0, -1) == [b"message", b"message"]
    assert valkey.client.keys("batch:*") == valkey.client.keys("quota:*") == valkey.client.keys("idem:*") == []


@pytest.mark.parametrize("what", ["jobs", "pages", "bytes"])
async def test_a_limit_lets_through_what_just_fits(store: Store, valkey: Valkey, clock: StillClock, what: str) -> None:
    most = {"jobs": 2, "pages": 4, "bytes": 12}[what]
    assert await accept(store, "J1", **{f"{what}_most": most // 2}) == [b"ok", b"J1"]  # the first of all
    assert await accept(store, "J2", **{f"{what}_most": most - 1}) == [b"full", what.encode()]
    assert await accept(store, "J2", **{f"{what}_most": most}) == [b"ok", b"J2"]
    assert await accept(store, "J3", **{f"{what}_most": most}) == [b"full", what.encode()]
    assert not valkey.client.exists(keyspace.JOB("J3"))


async def test_a_quota_is_used_up_until_midnight(store: Store, valkey: Valkey, clock: StillClock) -> None:
    today = keyspace.PAGE_QUOTA("me", MIDNIGHT // DAY)
    assert await accept(store, "J1", quota=4) == [b"ok", b"J1"]
    assert await accept(store, "J2", quota=4) == [b"ok", b"J2"]
    assert valkey.client.get(today) == b"4"
    assert lives(valkey, today, 2 * DAY)
    assert await accept(store, "J3", quota=4, pages=1) == [b"quota", b"86400"]
    clock.set(MIDNIGHT + DAY - 0.25)
    assert await accept(store, "J3", quota=4, pages=1) == [b"quota", b"1"]
    assert valkey.client.get(today) == b"4"
    clock.set(MIDNIGHT + DAY)
    assert await accept(store, "J3", quota=4, pages=4) == [b"ok", b"J3"]


async def test_an_owners_list_forgets_what_is_older_than_the_horizon(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    known = keyspace.JOBS_OF_OWNER("me")
    valkey.client.zadd(known, {"old": clock.now - 5000, "young": clock.now - 4999})
    await accept(store)
    assert scores(valkey, known) == {"young": clock.now - 4999, "J1": clock.now}
    assert lives(valkey, known, 5000)


# -- claims


async def test_a_claim_answers_with_the_record_and_is_written_down(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    valkey.client.hset(keyspace.PAGE_SUMMARIES("J1"), "2", "summary")
    valkey.client.hset(keyspace.PAGE_STARTS("J1"), "1", 3)
    valkey.client.hset(keyspace.PAGE_OPERATIONS("J1"), "1", 3)
    verdict, claim = await store.scripts.run("claim", "J1", "t+1", "w", LEASE)
    flat, ended, starts = json.loads(claim)
    now = clock.now
    claimed = record(valkey, "J1")
    assert (verdict, ended, starts) == (b"ok", ["2"], ["1", "3"])
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == claimed
    new = {"token": "t+1", "lease": f"{now + LEASE}", "worker": "w", "streamed": "0", "claim_tokens": " t+1 "}
    assert claimed.items() >= {**new, "status": "queued"}.items()
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J1": now + LEASE}
    assert not valkey.client.exists(keyspace.PAGE_OPERATIONS("J1"))
    clock.forward(1)
    assert (await store.scripts.run("claim", "J1", "t+1", "w", LEASE))[0] == b"ok"  # the same call a second time
    assert record(valkey, "J1") == claimed
    clock.set(now + LEASE - 0.25)
    assert await store.scripts.run("claim", "J1", "t2", "w", LEASE) == [b"busy"]
    clock.set(now + LEASE)
    assert (await store.scripts.run("claim", "J1", "t2", "w", LEASE))[0] == b"ok"
    assert record(valkey, "J1")["claim_tokens"] == " t+1 t2 "


async def test_a_job_remembers_the_tokens_of_its_latest_claims(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    valkey.client.hset(keyspace.JOB("J1"), "claim_tokens", "x" * 800)
    await begin(store)
    assert record(valkey, "J1")["claim_tokens"] == "x" * 717 + "t1 "  # about twenty


async def test_what_cannot_be_claimed_is_told_why(store: Store, valkey: Valkey, clock: StillClock) -> None:
    assert await store.scripts.run("claim", "J1", "t1", "w", LEASE) == [b"gone"]
    await accept(store)
    valkey.client.delete(keyspace.UPLOAD("J1"))
    assert await store.scripts.run("claim", "J1", "t1", "w", LEASE) == [b"done"]
    assert json.loads(record(valkey, "J1")["error"])["code"] == "upload-expired"
    assert await store.scripts.run("claim", "J1", "t1", "w", LEASE) == [b"done"]
    await accept(store, "J2", deadline=10)
    await accept(store, "J3")
    clock.forward(10)
    assert await store.scripts.run("claim", "J2", "t1", "w", LEASE) == [b"done"]
    clock.forward(990)
    assert await store.scripts.run("claim", "J3", "t1", "w", LEASE) == [b"done"]
    codes = [json.loads(record(valkey, job_id)["error"])["code"] for job_id in ("J2", "J3")]
    assert codes == ["deadline-exceeded", "job-expired"]
    assert "running" not in fields(valkey, keyspace.COUNTERS())  # none of them was


async def test_a_lease_lasts_from_its_renewal_and_the_reaper_looks_at_its_end(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    for job_id in ("J1", "J2", "J3"):
        await accept(store, job_id, deadline=20 if job_id == "J2" else 500)
        await begin(store, job_id)
    valkey.client.hset(keyspace.JOB("J1"), "deadline", "")
    now = clock.forward(10)
    lost = await store.scripts.run("renew", LEASE, "J1", "t1", "J2", "t1", "J3", "another", "J4", "t1")
    assert lost == [b"J3", b"J4"]
    assert [record(valkey, job_id)["lease"] for job_id in ("J1", "J2", "J3")] == [
        f"{now + LEASE}", f"{now + LEASE}", f"{now + 5}",
    ]  # fmt: skip
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J1": now + LEASE, "J2": now + 10, "J3": now + 5}
    clock.forward(10)
    assert await store.scripts.run("renew", LEASE, "J2", "t1", "J1", "t1") == [b"J2"]  # its deadline is now
    assert record(valkey, "J2")["status"] == "failed"


# -- ends


@pytest.mark.parametrize(("field", "code"), [("deadline", "deadline-exceeded"), ("max_age", "job-expired")])
async def test_a_job_is_overdue_from_its_moment_on_and_not_before(
    store: Store, valkey: Valkey, clock: StillClock, field: str, code: str
) -> None:
    await accept(store)
    valkey.client.hset(keyspace.JOB("J1"), field, f"{clock.now + 50}" if field == "deadline" else "50")
    clock.forward(49.75)
    assert (await view(store))[2] == 1
    assert record(valkey, "J1")["status"] == "queued"
    clock.forward(0.25)
    assert (await view(store))[2] == 0
    assert (record(valkey, "J1")["status"], json.loads(record(valkey, "J1")["error"])["code"]) == ("failed", code)
    before = fields(valkey, keyspace.COUNTERS())
    clock.forward(1000)
    await store.scripts.run("view", "J1", 0)  # it ends once
    assert fields(valkey, keyspace.COUNTERS()) == before


async def test_a_job_that_is_cancelled_leaves_its_end_written_down(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    assert await store.scripts.run("cancel", "J1", "o1") == b"gone"
    await accept(store, pages=1)
    await begin(store)
    await store.scripts.run("page_start", "J1", "t1", 1, 1, "")
    now = clock.forward(7)
    for _ in range(2):
        assert await store.scripts.run("cancel", "J1", "o1") == b"cancelled"
    assert await store.scripts.run("cancel", "J1", "o2") == b"over"
    ended = record(valkey, "J1")
    last = cast("list[tuple[bytes, Any]]", valkey.client.xrevrange(keyspace.EVENTS("J1"), count=1))[0][0].decode()
    assert ended.items() >= {
        "status": "cancelled", "completed": f"{now}", "token": "", "lease": "0", "error": "", "done_event": last,
        "expires": f"{now + 100}",
    }.items()  # fmt: skip
    assert events(valkey)[-1] == ("done", {"status": "cancelled", "error": None})
    counters = fields(valkey, keyspace.COUNTERS())
    assert [counters[name] for name in ("jobs", "pages", "bytes", "running", "fin:3", "ended:cancelled")] == [
        "0", "0", "0", "0", "1", "1",
    ]  # fmt: skip
    assert histograms(valkey).items() >= {"job|cancelled|10": "1", "job|cancelled|sum": "7000000"}.items()
    assert scores(valkey, keyspace.UNTOLD()) == {"J1": now + 15}
    assert scores(valkey, keyspace.CLEANUPS()) == {"events J1": now + 60}
    assert scores(valkey, keyspace.ENDED_JOBS()) == {"me J1": now + 200}
    assert scores(valkey, keyspace.NEXT_CHECK()) == scores(valkey, keyspace.WAITING("3")) == {}
    of_it = {key(job_id) for key in (keyspace.JOB, keyspace.EVENTS) for job_id in ("J1",)}
    assert {name.decode() for name in cast("list[bytes]", valkey.client.keys("*J1*"))} == of_it
    assert lives(valkey, keyspace.EVENTS("J1"), 100)
    assert lives(valkey, keyspace.JOB("J1"), 200)


@pytest.mark.parametrize(("upload", "is_payload"), [(b"12345", True), (b"123456", False), (b"1234567", False)])
async def test_an_upload_that_is_a_payload_is_cleaned_up_at_the_end(
    store: Store, valkey: Valkey, clock: StillClock, upload: bytes, is_payload: bool
) -> None:
    for job_id, payloads in (("J1", "1"), ("J2", "")):
        await accept(store, job_id, "payloads", payloads)
        valkey.client.set(keyspace.UPLOAD(job_id), upload)
        await store.scripts.run("cancel", job_id, "o1")
    uploads = {what: at for what, at in scores(valkey, keyspace.CLEANUPS()).items() if what.startswith("upload")}
    assert uploads == ({"upload J1": clock.now} if is_payload else {})


@pytest.mark.parametrize(
    ("pages", "status"),
    [("ok ok", "succeeded"), ("ok failed", "partial"), ("degraded ok", "partial"), ("failed failed", "failed")],
)
async def test_a_job_ends_once_by_what_its_pages_say(
    store: Store, valkey: Valkey, clock: StillClock, pages: str, status: str
) -> None:
    await accept(store)
    await begin(store)
    assert await store.scripts.run("finish", "J1", "t1") == b"incomplete"
    first, second = pages.split()
    assert await end_page(store, 1, 1, first) == 1
    assert await store.scripts.run("finish", "J1", "t1") == b"incomplete"
    assert await end_page(store, 2, 2, second) == 1
    assert await store.scripts.run("finish", "J1", "t2") == b""
    for _ in range(2):
        assert await store.scripts.run("finish", "J1", "t1") == status.encode()
    assert await store.scripts.run("finish", "J1", "t2") == b""
    assert record(valkey, "J1")["status"] == status
    assert fields(valkey, keyspace.COUNTERS())[f"ended:{status}"] == "1"
    assert await end_page(store, 2, 2) == 1  # a second time, late
    assert await end_page(store, 3, 3) == 0


async def test_a_claim_that_failed_a_job_is_told_so_twice_and_no_other(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    await begin(store)
    assert await store.scripts.run("fail", "J1", "t2", "code", "why") == 0
    for _ in range(2):
        assert await store.scripts.run("fail", "J1", "t1", "code", "why") == 1
    assert await store.scripts.run("fail", "J1", "t2", "code", "why") == 0
    assert json.loads(record(valkey, "J1")["error"]) == {"code": "code", "detail": "why"}
    assert events(valkey)[-1] == ("done", {"status": "failed", "error": {"code": "code", "detail": "why"}})
    assert fields(valkey, keyspace.COUNTERS())["ended:failed"] == "1"


async def test_a_claim_that_gave_its_job_back_cannot_fail_it(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    await begin(store)
    await store.scripts.run("page_start", "J1", "t1", 1, 1, "")
    assert await store.scripts.run("release", "J1", "t2", "message", 20, "1") == 0
    for _ in range(2):
        assert await store.scripts.run("release", "J1", "t1", "message", 20, "1") == 1
    assert fields(valkey, keyspace.PAGE_STARTS("J1")) == {"1": "0"}  # forgiven
    assert await store.scripts.run("release", "J1", "t2", "message", 20, "1") == 0
    assert await store.scripts.run("fail", "J1", "t1", "code", "why") == 0
    assert await store.scripts.run("finish", "J1", "t1") == b""
    assert await store.scripts.run("stream", "J1", "t1", 1, "token", "{}") == 1  # what it had sent before
    assert await end_page(store) == 0
    assert valkey.client.lrange(keyspace.QUEUE("3"), 0, -1) == [b"message", b"message"]


@pytest.mark.parametrize("started", [True, False])
async def test_a_job_that_is_given_back_is_queued_as_before(
    store: Store, valkey: Valkey, clock: StillClock, started: bool
) -> None:
    await accept(store)
    created = clock.now
    assert (await store.scripts.run("claim", "J1", "t1", "w", LEASE))[0] == b"ok"
    if started:
        await store.scripts.run("start", "J1", "t1", "instant", "")
        await store.scripts.run("page_start", "J1", "t1", 2, 1, "")
    before, now = events(valkey), clock.forward(5)
    assert await store.scripts.run("release", "J1", "t1", "again", 20, "0") == 1
    restarted = [("page.restarted", {"page": 2, "reason": "worker-stopped"})] if started else []
    queued = [("status", {"status": "queued", "reason": "worker-stopped"})] if started else []
    assert events(valkey) == before + restarted + queued
    assert record(valkey, "J1").items() >= {"status": "queued", "token": "", "lease": "0"}.items()
    assert scores(valkey, keyspace.WAITING("3")) == {"J1": created}
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J1": now + 20}
    counters = fields(valkey, keyspace.COUNTERS())
    assert counters.get("running", "0") == "0"
    assert counters.get("retries:worker-stopped", "0") == str(int(started))
    assert fields(valkey, keyspace.PAGE_STARTS("J1")) == ({"2": "1"} if started else {})  # not forgiven
    assert not valkey.client.exists(keyspace.PAGES_IN_FLIGHT("J1"))
    assert valkey.client.lindex(keyspace.QUEUE("3"), -1) == b"again"  # the front


# -- reading


async def test_a_start_is_measured_once_and_says_who_reads(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store, "J1", "webhook_url", "https://a.test/", "webhook_events", "job.started")
    first = clock.forward(2)
    await store.scripts.run("claim", "J1", "t1", "w", LEASE)
    assert await store.scripts.run("start", "J1", "t2", "instant", "r") == 0
    for _ in range(2):
        assert await store.scripts.run("start", "J1", "t1", "instant", "r") == 1
    begun = record(valkey, "J1")
    assert begun.items() >= {
        "status": "processing", "engine": "instant", "reader": "r", "attempt": "1", "started": f"{first}",
    }.items()  # fmt: skip
    assert scores(valkey, keyspace.WAITING("3")) == {}
    assert events(valkey)[-1] == ("status", {"status": "processing", "attempt": 1})
    assert fields(valkey, keyspace.COUNTERS())["running"] == "1"
    clock.forward(LEASE)
    await store.scripts.run("claim", "J1", "t2", "w", LEASE)  # the first worker has died
    assert await store.scripts.run("start", "J1", "t2", "other", "r") == 2
    again = record(valkey, "J1")
    assert (again["started"], again["attempt"], again["engine"], again["reader"]) == (f"{first}", "2", "other", "r")
    assert fields(valkey, keyspace.COUNTERS())["running"] == "1"
    assert histograms(valkey) == {"queue|8": "1", "queue|sum": "2000000"}
    assert list(scores(valkey, keyspace.WEBHOOKS_DUE())) == ["msg_J1_started"]


@pytest.mark.parametrize("readers", [("r", "s"), ("r", ""), ("", "r"), ("r", "s", "r")])
async def test_pages_that_two_have_read_are_nobodys_result(
    store: Store, valkey: Valkey, clock: StillClock, readers: tuple[str, ...]
) -> None:
    await accept(store)
    for number, reader in enumerate(readers):
        await begin(store, "J1", f"t{number}", reader)
        clock.forward(LEASE)
    assert record(valkey, "J1")["reader"] == ""


async def test_the_first_text_of_a_job_is_a_token_or_a_pages_end(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    await begin(store)
    clock.forward(1)
    valkey.client.hdel(keyspace.JOB("J1"), "streamed")  # as a worker of the version before claims
    assert await store.scripts.run("stream", "J1", "t1", 1, "page.restarted", '{"page": 1}') == 1
    assert "first_text" not in record(valkey, "J1")
    first = clock.forward(1)
    for _ in range(2):
        assert await store.scripts.run("stream", "J1", "t1", 2, "page.restarted", '{"a": 1}', "token", '{"b": 2}') == 1
    clock.forward(1)
    assert await store.scripts.run("stream", "J1", "t1", 3, "token", '{"c": 3}') == 1
    assert await store.scripts.run("stream", "J1", "t2", 4, "token", '{"d": 4}') == 0
    await end_page(store)
    assert record(valkey, "J1").items() >= {"first_text": f"{first}", "streamed": "3"}.items()
    streamed = [data for name, data in events(valkey) if name in ("token", "page.restarted")]
    assert streamed == [{"page": 1}, {"a": 1}, {"b": 2}, {"c": 3}]
    assert {k: v for k, v in histograms(valkey).items() if k.startswith("first_text")} == {
        "first_text|8": "1", "first_text|sum": "2000000",
    }  # fmt: skip


async def test_a_pages_end_is_measured_counted_and_told(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    await begin(store)
    begun = clock.forward(1)
    assert await store.scripts.run("page_start", "J1", "t1", 1, 1, 0.25) == 1
    before, now = fields(valkey, keyspace.COUNTERS()), clock.forward(3)
    assert await end_page(store, 1, 2) == 1
    assert added(valkey, before) == {"pages": -1, "fin:3": 1, "pages:ok": 1}
    assert histograms(valkey) == {
        "queue|1": "1", "queue|sum": "0", "render|5": "1", "render|sum": "250000", "page|instant|ok|9": "1",
        "page|instant|ok|sum": "3000000", "first_text|9": "1", "first_text|sum": "4000000",
    }  # fmt: skip
    progress = {"pages_total": 2, "pages_done": 1, "pages_failed": 0}
    assert events(valkey)[-2:] == [
        ("page.started", {"page": 1}),
        ("page.completed", {"page": 1, "status": "ok", "reason": None, "progress": progress}),
    ]
    bucket = int(now // 10)
    assert valkey.client.mget(keyspace.PAGES_ENDED(bucket), keyspace.READING_SECONDS(bucket)) == [b"1", b"3"]
    assert float(cast("bytes", valkey.client.get(keyspace.LAST_PAGE_END()))) == now == begun + 3
    names = (keyspace.PAGES_ENDED(bucket), keyspace.READING_SECONDS(bucket), keyspace.LAST_PAGE_END())
    assert all(lives(valkey, name, 90) for name in names)
    assert await end_page(store, 1, 2) == 1  # a second result is dropped
    clock.forward(1)
    assert await end_page(store, 2, 3, "failed") == 1  # of a page that nobody began
    assert valkey.client.get(keyspace.READING_SECONDS(bucket)) == b"3"
    assert events(valkey)[-1][0] == "page.failed"
    assert record(valkey, "J1").items() >= {
        "pages_done": "1", "pages_failed": "1", "pages_degraded": "0", "prompt_tokens": "2", "completion_tokens": "4",
        "engine_seconds": "1",
    }.items()  # fmt: skip
    assert fields(valkey, keyspace.USAGE(MIDNIGHT // DAY))["me|tokens"] == "6"


async def test_a_page_of_a_claim_that_never_started_is_measured_under_no_engine(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    await store.scripts.run("claim", "J1", "t1", "w", LEASE)
    await end_page(store)
    assert histograms(valkey)["page||ok|1"] == "1"


async def test_a_step_of_a_page_that_comes_late_changes_nothing(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    await begin(store)
    assert await store.scripts.run("page_start", "J1", "t1", 1, 5, "") == 1
    assert lives(valkey, keyspace.PAGE_OPERATIONS("J1"), 3600)
    assert await store.scripts.run("page_stop", "J1", "t1", 1, 5, "1") == 1  # not above the latest
    assert await store.scripts.run("page_stop", "J1", "t1", 1, 4, "1") == 1
    assert fields(valkey, keyspace.PAGES_IN_FLIGHT("J1")).keys() == {"1"}
    assert await store.scripts.run("page_stop", "J1", "t1", 1, 6, "0") == 1
    assert await store.scripts.run("page_start", "J1", "t1", 1, 5, "") == 1  # late
    assert not valkey.client.exists(keyspace.PAGES_IN_FLIGHT("J1"))
    assert await end_page(store, 2, 9) == 1
    assert await store.scripts.run("page_start", "J1", "t1", 2, 8, "") == 0  # later than the page's end
    assert not valkey.client.exists(keyspace.PAGES_IN_FLIGHT("J1"))
    assert await store.scripts.run("page_start", "J1", "t2", 1, 10, "") == 0
    assert await store.scripts.run("page_stop", "J1", "t2", 1, 10, "1") == 0
    assert [data for name, data in events(valkey) if name == "page.restarted"] == [{"page": 1, "reason": "engine-lost"}]
    assert fields(valkey, keyspace.COUNTERS())["retries:engine-lost"] == "1"
    assert fields(valkey, keyspace.PAGE_STARTS("J1")) == {"1": "1"}


# -- callers


async def test_no_request_is_refused_for_what_was_rounded_off(store: Store, valkey: Valkey, clock: StillClock) -> None:
    async def ask(operation: str) -> Any:
        return (await store.scripts.run("rate", "me", 2 / 3, 3, "", operation))[:2]

    clock.set(1000)
    assert [await ask(f"r{number}") for number in range(4)] == [[1, 2], [1, 1], [1, 0], [0, 0]]
    clock.set(1000.666667)  # when the fourth may come, to the microsecond
    assert (await ask("r4"))[0] == 1


async def test_of_a_limit_that_was_lowered_nothing_is_left_and_not_less(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    for number in range(9):
        await store.scripts.run("rate", "me", 1, 10, "", f"r{number}")
    assert (await store.scripts.run("rate", "me", 1, 3, "", "lowered"))[:2] == [0, 0]


async def test_the_pages_of_a_quota_are_those_of_the_day(store: Store, valkey: Valkey, clock: StillClock) -> None:
    valkey.client.set(keyspace.PAGE_QUOTA("me", MIDNIGHT // DAY), 2)
    assert (await store.scripts.run("rate", "me", 10, 3, 5, "r1"))[4:] == [3, DAY]
    clock.set(MIDNIGHT + DAY - 0.5)
    assert (await store.scripts.run("rate", "me", 10, 3, 5, "r2"))[4:] == [3, 1]


# -- looking


def counted(valkey: Valkey, **counters: int) -> None:
    valkey.client.delete(keyspace.COUNTERS())
    if counters:
        valkey.client.hset(keyspace.COUNTERS(), mapping={k.replace("_", ":"): v for k, v in counters.items()})


async def test_a_view_of_a_store_whose_counters_are_gone_counts_from_nothing(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store, "J0")
    await accept(store, "J1")
    await accept(store, "J2", rank="6")
    counted(valkey)
    flat, summaries, *numbers = await view(store, "J1", 1)
    assert (dict(zip(flat[::2], flat[1::2], strict=True))["id"], summaries) == ("J1", {})
    assert numbers[:6] == [2, 2, 0, 0, 0, "0"]
    assert (await view(store, "J2", 1))[2:4] == [3, 0]
    await store.scripts.run("cancel", "J1", "o1")
    assert (await view(store, "J1", 1))[2:4] == [0, 0]
    assert await store.scripts.run("view", "J9", 1) == b""


async def test_a_view_adds_up_what_is_ahead(store: Store, valkey: Valkey, clock: StillClock) -> None:
    for job_id, rank in (("J1", "3"), ("J2", "0"), ("J3", "6"), ("J4", "3")):
        await accept(store, job_id, rank=rank)
    counted(valkey, sub_0=20, fin_0=3, sub_3=500, fin_3=4, sub_6=100, pages=7, running=5)
    valkey.client.hset(keyspace.JOB("J4"), mapping={"pages_submitted_before": 9, "before": 11})
    assert (await view(store, "J4", 0))[2:6] == [3, 9 - 4 + 17, 7, 5]
    valkey.client.hdel(keyspace.JOB("J4"), "pages_submitted_before")  # a gateway of the version before took it in
    assert (await view(store, "J4", 0))[3] == 11 - 4 + 17
    valkey.client.hset(keyspace.JOB("J4"), "before", 1)
    assert (await view(store, "J4", 0))[3] == 17
    valkey.client.zrem(keyspace.WAITING("3"), "J4")  # until an audit puts it there again
    assert (await view(store, "J4", 0))[2] == 2


async def test_a_view_with_summaries_has_them(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    valkey.client.hset(keyspace.PAGE_SUMMARIES("J1"), "1", "summary")
    assert (await view(store, "J1", 1))[1] == ["1", "summary"]
    assert (await view(store, "J1", 0))[1] == {}


async def test_the_speed_is_that_of_the_last_minute(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    now = int(clock.now // 10)
    for ago in range(-1, 9):
        valkey.client.set(keyspace.PAGES_ENDED(now - ago), 2 ** (ago + 1))
        valkey.client.set(keyspace.READING_SECONDS(now - ago), 3 * 2 ** (ago + 1))
    inside = sum(2 ** (ago + 1) for ago in range(7))
    assert (await view(store, "J1", 0))[6:8] == [inside, str(3 * inside)]
    valkey.client.delete(*(keyspace.PAGES_ENDED(now - ago) for ago in range(9)))
    assert (await view(store, "J1", 0))[6:8] == [0, str(3 * inside)]


# -- the reaper's and the auditor's


async def reap(store: Store, operation: str) -> Any:
    return await store.scripts.run("reap", "J1", "again", 10, operation)


async def test_a_job_is_put_back_from_the_end_of_its_lease_on(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store)
    await begin(store)
    await store.scripts.run("page_start", "J1", "t1", 2, 1, "")
    valkey.client.zadd(keyspace.NEXT_CHECK(), {"J1": clock.now})
    lease = clock.now + LEASE
    assert await reap(store, "o1") == b""
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J1": lease}
    clock.set(lease - 0.25)
    assert await reap(store, "o2") == b""
    clock.set(lease)
    for _ in range(2):
        assert await reap(store, "o3") == b"requeued"
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J1": lease + 10}
    counters = fields(valkey, keyspace.COUNTERS())
    assert (counters["leases_lost"], counters["retries:worker-lost"]) == ("1", "1")
    assert valkey.client.lrange(keyspace.QUEUE("3"), 0, -1) == [b"message", b"again"]
    assert fields(valkey, keyspace.PAGE_STARTS("J1")) == {"2": "1"}  # the page may be what its worker died of
    assert events(valkey)[-2:] == [
        ("page.restarted", {"page": 2, "reason": "worker-lost"}),
        ("status", {"status": "queued", "reason": "worker-lost"}),
    ]


@pytest.mark.parametrize(("rank", "queue"), [("3", keyspace.QUEUE("3")), ("0", keyspace.QUEUE_HIGH())])
@pytest.mark.parametrize(
    ("place", "messages", "waits"),
    [(255, 999, None), (256, 256, None), (256, 257, 35.6), (300, 301, 40), (36_000, 36_001, 3600)],
)
async def test_a_job_far_behind_is_looked_at_when_it_may_have_come_near(
    store: Store, valkey: Valkey, clock: StillClock, rank: str, queue: str, place: int, messages: int,
    waits: float | None,
) -> None:  # fmt: skip
    await accept(store, rank=rank)
    valkey.client.zadd(keyspace.WAITING(rank), {f"A{number}": 1 for number in range(place)})
    valkey.client.delete(queue)
    valkey.client.rpush(queue, *[b"message"] * messages)
    clock.forward(20)
    assert await reap(store, "o1") == (b"requeued" if waits is None else b"")
    assert scores(valkey, keyspace.NEXT_CHECK())["J1"] == pytest.approx(clock.now + (waits or 20), abs=0.001)
    assert valkey.client.llen(queue) == messages + (waits is None)


async def test_a_message_is_sent_again_later_each_time_and_within_an_hour(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    valkey.client.hset(keyspace.JOB("J1"), "max_age", 10**6)
    now, waits = clock.forward(20), list[float]()
    for number in range(12):
        assert await reap(store, f"o{number}") == b"requeued"
        due = scores(valkey, keyspace.NEXT_CHECK())["J1"]
        waits.append(due - now)
        now = clock.set(due)
    assert waits == [20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600, 3600]
    assert record(valkey, "J1")["requeues"] == "12"


async def test_a_job_that_the_reaper_ended_is_answered_so_twice(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store, deadline=30)
    clock.forward(30)
    valkey.client.zadd(keyspace.NEXT_CHECK(), {"J1": clock.now})
    for _ in range(2):
        assert await reap(store, "o1") == b"ended"
    valkey.client.zadd(keyspace.NEXT_CHECK(), {"J1": clock.now, "J9": clock.now})
    assert await reap(store, "o2") == b""
    assert scores(valkey, keyspace.NEXT_CHECK()) == {"J9": clock.now}


async def test_a_worker_is_asked_to_tell_of_an_end_when_it_is_time(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    async def tell(job_id: str = "J1") -> None:
        assert await store.scripts.run("tell_again", job_id, "tell", 60) == 1

    queue, due = keyspace.QUEUE_HIGH(), clock.now + 15
    valkey.client.lpush(queue, "earlier")
    valkey.client.zadd(keyspace.UNTOLD(), {"J1": due})
    await tell()
    await tell("J2")
    clock.set(due - 0.25)
    await tell()
    assert valkey.client.lrange(queue, 0, -1) == [b"earlier"]
    clock.set(due)
    for _ in range(2):
        await tell()
    assert valkey.client.lrange(queue, 0, -1) == [b"earlier", b"tell"]  # the right end is the front
    assert scores(valkey, keyspace.UNTOLD()) == {"J1": due + 60}


async def test_a_sweep_takes_a_thousand_whose_moment_has_come(store: Store, valkey: Valkey, clock: StillClock) -> None:
    ended, known = keyspace.ENDED_JOBS(), keyspace.JOBS_OF_OWNER("me")
    valkey.client.zadd(ended, {f"me J{number}": clock.now for number in range(1001)} | {"me later": clock.now + 0.25})
    valkey.client.zadd(known, {f"J{number}": 1 for number in range(1001)})
    assert await store.scripts.run("sweep") == 1000
    assert (valkey.client.zcard(ended), valkey.client.zcard(known)) == (2, 1)
    assert await store.scripts.run("sweep") == 1
    assert list(scores(valkey, ended)) == ["me later"]


async def test_an_engine_that_started_is_remembered_for_an_hour(store: Store, valkey: Valkey) -> None:
    for _ in range(2):
        assert await store.scripts.run("engine_started", "w") == 1
    assert lives(valkey, keyspace.WORKER_STARTED("w"), 3600)
    assert fields(valkey, keyspace.COUNTERS())["engine_starts"] == "1"


async def test_another_priority_is_given_once_and_answered_alike(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    await accept(store)
    for _ in range(2):
        assert await store.scripts.run("reprioritise", "J1", "6", "low", "moved") == 1
    assert record(valkey, "J1")["rank"] == "6"
    assert valkey.client.lrange(keyspace.QUEUE("6"), 0, -1) == [b"moved"]
    assert await store.scripts.run("reprioritise", "J9", "6", "low", "moved") == 0


async def test_an_auditor_reads_what_the_counters_are_made_of(store: Store, valkey: Valkey, clock: StillClock) -> None:
    await accept(store, "J0", pages=1)
    for job_id in ("J1", "J2", "J3", "J4"):
        await accept(store, job_id, pages=9, pages_most=99)
    await begin(store)
    valkey.client.hset(keyspace.JOB("J1"), mapping={"pages_done": 3, "pages_failed": 2})
    valkey.client.hset(keyspace.JOB("J2"), "before", 77)
    valkey.client.hdel(keyspace.JOB("J2"), "pages_submitted_before")
    valkey.client.hdel(keyspace.JOB("J3"), "pages_submitted_before", "before")
    await store.scripts.run("cancel", "J4", "o1")
    assert await store.scripts.run("audit_read", "J1", "J9", "J2", "J3", "J4") == [
        b"3 6 4 0 1", b"", b"3 6 9 1 77", b"3 6 9 1 0", b"",
    ]  # fmt: skip


async def audit(store: Store, seen: dict[str, int], pages: int = 0, size: int = 0, **more: Any) -> Any:
    given = [more.get(name, empty) for name, empty in (("of_rank", {}), ("misfiled", []), ("before", {}))]
    return await store.scripts.run(
        "audit", more.get("worker", "w"), more.get("operation", "o1"), json.dumps(seen), pages, size,
        *(json.dumps(one) for one in given),
    )  # fmt: skip


async def test_an_audit_is_its_holders_and_of_counters_that_stand(
    store: Store, valkey: Valkey, clock: StillClock
) -> None:
    assert await audit(store, {}) == [b"lost"]
    valkey.client.set(keyspace.AUDIT(), "w", ex=60)
    assert await audit(store, {}, worker="another") == [b"lost"]
    assert await audit(store, {"jobs": 1}) == [b"moved"]
    assert fields(valkey, keyspace.COUNTERS()) == {}
    of_rank = {"3": 4, "6": 0}
    mended = [b"mended", b"pages", 7, b"bytes", 30]
    reply = await audit(store, {"jobs": 0}, 7, 30, of_rank=of_rank)
    assert (reply[:5], sorted(reply[5:], key=str)) == (mended, sorted([b"fin:3", -4], key=str))
    assert fields(valkey, keyspace.COUNTERS()) == {
        "pages": "7", "bytes": "30", "fin:3": "-4", "drift:pages": "7", "drift:bytes": "30", "drift:fin:3": "4",
        "audits": "1",
    }  # fmt: skip
    assert lives(valkey, keyspace.AUDIT(), 60)
    assert await audit(store, {}, 9, 9) == [b"mended"]  # the same call a second time
    assert await audit(store, {}, operation="o2") == [b"lost"]  # its turn is over
    assert fields(valkey, keyspace.COUNTERS())["audits"] == "1"


async def test_an_audit_counts_what_waits_and_what_is_read(store: Store, valkey: Valkey, clock: StillClock) -> None:
    for job_id, rank in (("J1", "3"), ("J2", "0"), ("J3", "6")):
        await accept(store, job_id, rank=rank)
    await begin(store)
    valkey.client.set(keyspace.AUDIT(), "w", ex=60)
    counted(valkey, jobs=1, running=4, sub_3=9, fin_3=1)
    before = {"J2": 5}
    reply = await audit(store, {}, 0, 0, of_rank={"3": 2}, before=before)
    assert reply == [b"mended", b"jobs", 2, b"running", -3, b"fin:3", 6]
    assert fields(valkey, keyspace.COUNTERS()) == {
        "jobs": "3", "running": "1", "sub:3": "9", "fin:3": "7", "drift:jobs": "2", "drift:running": "3",
        "drift:fin:3": "6", "audits": "1",
    }  # fmt: skip
    assert (record(valkey, "J2")["pages_submitted_before"], record(valkey, "J2")["before"]) == ("5", "5")


@pytest.mark.parametrize("wrong", ["unlisted", "not waiting", "ended", "ended and waiting", "read", "nothing"])
async def test_each_job_that_is_listed_wrongly_is_put_right_and_counted(
    store: Store, valkey: Valkey, clock: StillClock, wrong: str
) -> None:
    await accept(store)
    await accept(store, "J2")
    check, waiting, moved = keyspace.NEXT_CHECK(), keyspace.WAITING("3"), 1
    if wrong == "unlisted":
        valkey.client.zrem(check, "J1")
    elif wrong == "not waiting":
        valkey.client.zrem(waiting, "J1")
    elif wrong.startswith("ended"):
        await store.scripts.run("cancel", "J1", "o")
        valkey.client.zadd(check, {"J1": 1})
        if "waiting" in wrong:
            moved = 2
            valkey.client.zadd(waiting, {"J1": 1})
    elif wrong == "read":
        await begin(store)
        valkey.client.zadd(waiting, {"J1": 1})
    else:
        moved = 0
    valkey.client.set(keyspace.AUDIT(), "w", ex=60)
    assert await audit(store, {}, misfiled=["J1"]) == [b"moved"]
    assert fields(valkey, keyspace.COUNTERS()).get("drift:waiting", "0") == str(moved)
    assert ("drift:waiting" in fields(valkey, keyspace.COUNTERS())) == (moved > 0)
    listed = scores(valkey, check)
    assert ("J1" in listed) == (not wrong.startswith("ended"))
    assert wrong != "unlisted" or listed["J1"] == clock.now
    queued = {"J1": clock.now} if wrong in ("unlisted", "not waiting", "nothing") else {}
    assert scores(valkey, waiting) == {"J2": clock.now, **queued}
