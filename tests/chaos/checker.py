"""The verdict: every acknowledged job against what it must have become, and the store against its records."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.contract.states import TERMINAL_STATUSES as TERMINAL
from shared.errors import NotFound
from shared.store.jobs import Store
from tests.chaos.plan import Planned

MUST_BE_ZERO: Final = (
    "lost", "wrong", "twice", "second id", "pages redone", "streamed otherwise", "webhook lost", "drift", "left behind",
    "wrong answer", "dead loop",
)  # fmt: skip
ID: Final = re.compile(rb"[0-9A-HJKMNP-TV-Z]{26}")
Finding = tuple[str, str]
Event = tuple[str, dict[str, Any]]


async def verdict(store: Store, planned: list[Planned]) -> tuple[Counter[str], list[str]]:
    """Counts (lost, wrong, twice, second id, pages redone, …; all must be 0) and a line for each finding."""
    counts: Counter[str] = Counter(dict.fromkeys(MUST_BE_ZERO, 0))
    findings: list[str] = []

    def add(found: Iterable[Finding]) -> None:
        for kind, detail in found:
            counts[kind] += 1
            findings.append(f"{kind}: {detail}")

    for job in planned:
        add([(kind, f"{job.name} {job.ids[:1]}: {detail}") for kind, detail in await _faults(store, job)])
    add(await drift(store))
    add(await left_behind(store))
    return counts, findings


async def _faults(store: Store, planned: Planned) -> list[Finding]:
    faults = [fault for job_id in planned.given_up for fault in await _ended_at_all(store, job_id)]
    if planned.follow == "call" and not planned.ids:
        return faults  # no call was told to its end: nothing was promised
    if len(set(planned.ids)) != 1:
        return [("second id" if planned.ids else "lost", f"ids {set(planned.ids)}")]
    try:
        job = await store.job(planned.ids[0])
    except NotFound:
        return [("lost", "no record")]
    if not job.finished:
        return [("lost", f"still {job.status}: {job.progress}")]
    if planned.follow != "cancel" or job.status != "cancelled":
        faults += await _wrong(store, planned, job)
    events = await _events(store, job.id)
    if (ends := sum(name == "done" for name, _ in events)) != (0 if job.cached else 1):
        faults.append(("twice", f"{ends} done events"))
    if redone := _redone(events):
        faults.append(("pages redone", f"pages {redone}"))
    return faults


async def _ended_at_all(store: Store, job_id: str) -> list[Finding]:
    """A call that broke off: its job was cancelled, or read to its end."""
    try:
        job = await store.job(job_id)
    except NotFound:
        return [("lost", f"no record of {job_id}")]
    return [] if job.finished else [("lost", f"the job of a call that broke off is {job.status}: {job_id}")]


async def _wrong(store: Store, planned: Planned, job: Any) -> list[Finding]:
    found = {page.number: page.markdown if page.status == "ok" else None for page in await store.pages(job.id)}
    faults = []
    if (job.status, list(found.values())) != (planned.status, planned.texts()):
        reasons = [(mark.number, mark.reason) for mark in job.pages if mark.reason]
        faults.append(("wrong", f"{job.status} instead of {planned.status}; {reasons}"))
    stored = {number: text for number, text in found.items() if text is not None}
    if planned.streamed is not None and planned.streamed.strip() != "\n\n".join(stored.values()):
        faults.append(("streamed otherwise", f"{planned.streamed!r}"))
    if planned.pages_streamed is not None:
        told = {number: planned.pages_streamed.get(number) for number in stored}
        if told != stored:
            faults.append(("streamed otherwise", f"{[n for n in stored if told[n] != stored[n]]}"))
    return faults


async def _events(store: Store, job_id: str) -> list[Event]:
    entries = await store.redis.xrange(f"ev:{job_id}")
    return [(fields[b"event"].decode(), json.loads(fields[b"data"])) for _, fields in entries]


def _redone(events: list[Event]) -> list[Any]:
    """Pages that were begun again after they had ended."""
    ended: set[int] = set()
    redone = []
    for name, data in events:
        page = data.get("page")
        if name in ("page.completed", "page.failed"):
            ended.add(page)  # type: ignore[arg-type]
        elif name == "page.started" and page in ended:
            redone.append(page)
    return redone


# -- the store against its records


async def drift(store: Store) -> list[Finding]:
    """Counters that are not what the records add up to."""
    redis = store.redis
    open_jobs = [f async for f in _records(redis) if f[b"status"].decode() not in TERMINAL]
    running = sum(f[b"status"] == b"processing" for f in open_jobs)
    expected: dict[str, int] = {
        "jobs": len(open_jobs),
        "pages": sum(_left(f) for f in open_jobs),
        "bytes": sum(int(f[b"bytes"]) for f in open_jobs),
        "running": running,
    }
    counters = {name.decode(): int(value) for name, value in (await redis.hgetall("counters")).items() if _whole(value)}
    found = [
        ("drift", f"{name} is {counters.get(name, 0)}, the records say {value}")
        for name, value in expected.items()
        if counters.get(name, 0) != value
    ]
    mended = {name: by for name, by in counters.items() if name.startswith("drift:") and by}
    found += [("drift", f"an audit mended {name} by {by}") for name, by in mended.items()]
    for rank in ("0", "3", "6"):
        mine = [f for f in open_jobs if f[b"rank"].decode() == rank]
        ahead = counters.get(f"sub:{rank}", 0) - counters.get(f"fin:{rank}", 0)
        if ahead != sum(map(_left, mine)):
            found.append(("drift", f"pages ahead of rank {rank} are {ahead}, the records say {sum(map(_left, mine))}"))
        waiting = sum(f[b"status"] == b"queued" for f in mine)
        if (told := await redis.zcard(f"waiting:{rank}")) != waiting:
            found.append(("drift", f"waiting:{rank} has {told}, the records say {waiting}"))
    if (told := await redis.zcard("open")) != len(open_jobs):
        found.append(("drift", f"open has {told}, the records say {len(open_jobs)}"))
    return found


def _whole(value: bytes) -> bool:
    return value.lstrip(b"-").isdigit()


def _left(fields: Mapping[bytes, bytes]) -> int:
    return int(fields[b"pages_total"]) - int(fields[b"pages_done"]) - int(fields[b"pages_failed"])


async def _records(redis: Any) -> Any:
    async for key in redis.scan_iter(match="job:*", count=1000):
        if fields := await redis.hgetall(key):
            yield fields


async def left_behind(store: Store) -> list[Finding]:
    """Keys of jobs and batches that are no more, and of ended jobs what would stay for ever."""
    redis = store.redis
    status = {f[b"id"]: f[b"status"].decode() async for f in _records(redis)}
    batches = {key.split(b":")[1] async for key in redis.scan_iter(match="batch:*", count=1000)}
    found: list[Finding] = []
    async for key in redis.scan_iter(count=1000):
        named = ID.search(key)
        if named is None or named[0] in batches:
            continue
        if key.startswith(b"ev:") and named[0] not in status and await redis.ttl(key) != -1:
            continue  # the end of a deleted job, for those who follow it
        if named[0] not in status and not key.startswith((b"hook", b"dlv:", b"webhook", b"op")):
            found.append(("left behind", f"{key.decode()} of no job"))
        elif status.get(named[0]) in TERMINAL and await redis.ttl(key) == -1:
            found.append(("left behind", f"{key.decode()} of an ended job has no end"))
    for pattern in ("in:*", "flight:*", "starts:*"):
        keys = [key async for key in redis.scan_iter(match=pattern, count=1000)]
        # A worker of the version before does not know the steps of pages; they go by themselves in an hour.
        ended = [key for key in keys if status.get(key.split(b":")[1]) in TERMINAL and not key.endswith(b":operations")]
        found += [("left behind", f"{key.decode()} of an ended job") for key in ended]
    return found
