"""The verdict: every acknowledged job against what it must have become."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shared.contract.events import PageEnded, PageStarted
from shared.errors import NotFound
from shared.store import keyspace
from shared.store.jobs import Store, StoredEvent
from tests.chaos.plan import Planned


async def verdict(store: Store, planned: list[Planned]) -> tuple[Counter[str], list[str]]:
    """Counts (lost, wrong, twice, second id, pages redone, …; all must be 0) and a line for each finding."""
    counts: Counter[str] = Counter(dict.fromkeys(("lost", "wrong", "twice", "second id", "pages redone"), 0))
    findings: list[str] = []
    for job in planned:
        for kind, detail in await _faults(store, job):
            counts[kind] += 1
            findings.append(f"{kind}: {job.key} {job.ids[:1]}: {detail}")
    for name, left in (await _left(store)).items():
        counts["left behind"] += 1
        findings.append(f"left behind: {name} = {left}")
    return counts, findings


async def _faults(store: Store, planned: Planned) -> list[tuple[str, str]]:
    if len(set(planned.ids)) != 1:
        return [("second id" if planned.ids else "lost", f"ids {set(planned.ids)}")]
    try:
        job = await store.job(planned.ids[0])
    except NotFound:
        return [("lost", "no record")]
    if not job.finished:
        return [("lost", f"still {job.status}: {job.progress}")]
    found = [page.markdown if page.status == "ok" else None for page in await store.pages(job.id)]
    faults = []
    if (job.status, found) != (planned.status, planned.texts()):
        reasons = [(page.number, page.reason) for page in job.pages if page.reason]
        faults.append(("wrong", f"{job.status} instead of {planned.status}; {reasons}"))
    events = await store.events(job.id, count=5000)
    if (ends := sum(event.name == "done" for event in events)) != 1:
        faults.append(("twice", f"{ends} done events"))
    if redone := _redone(events):
        faults.append(("pages redone", f"pages {redone}"))
    return faults


def _redone(events: list[StoredEvent]) -> list[Any]:
    """Pages that were begun again after they had ended."""
    ended: set[int] = set()
    redone = []
    for stored in events:
        match stored.event:
            case PageEnded(page=page):
                ended.add(page)
            case PageStarted(page=page) if page in ended:
                redone.append(page)
    return redone


async def _left(store: Store) -> dict[str, Any]:
    """What must be empty when every job has ended."""
    redis = store.redis
    counters = await store.counters()
    left: dict[str, Any] = {name: counters.get(name, 0) for name in ("jobs", "pages", "bytes", "running")}
    for key in (keyspace.NEXT_CHECK(), *map(keyspace.WAITING, keyspace.RANKS.values())):
        left[key] = await redis.zcard(key)
    for pattern in map(_any_of, (keyspace.UPLOAD, keyspace.PAGES_IN_FLIGHT, keyspace.PAGE_STARTS)):
        left[pattern] = len([key async for key in redis.scan_iter(match=pattern, count=1000)])
    return {name: value for name, value in left.items() if value}


def _any_of(key: keyspace.Key) -> str:
    return key("*")
