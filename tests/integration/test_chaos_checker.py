"""The checker of the chaos runs finds what it is there to find."""

from __future__ import annotations

import pytest

from shared.contract.document import PageResult, PageStatus
from shared.contract.options import Options
from shared.store.jobs import Store
from tests.chaos.checker import verdict
from tests.chaos.plan import Planned
from tests.integration.test_store import new_job
from tools.uploads import picture
from tools.valkey import Valkey
from worker.claims import Claim, Claims
from worker.engines.instant import answer


async def read(store: Store, claims: Claims, planned: Planned, *, wrong: bool = False) -> Claim:
    """A job of one page, read to its end as a worker does."""
    job_id = (await store.submit(new_job(1, options=Options()), b"x")).job_id
    planned.ids.append(job_id)
    claim = await claims.claim(job_id, "t")
    assert claim is not None
    await claims.start(claim, "instant")
    await claims.page_start(claim, 1)
    text = "another text" if wrong else answer(picture(planned.seeds[0]))
    await claims.page_end(claim, PageResult(number=1, status=PageStatus.OK, markdown=text))
    await claims.finish(claim)
    return claim


async def counts(store: Store, planned: Planned) -> dict[str, int]:
    found, _ = await verdict(store, [planned])
    return {name: count for name, count in found.items() if count}


async def test_a_job_that_ended_as_planned_is_no_finding(store: Store, claims: Claims) -> None:
    planned = Planned("k", (5,))
    await read(store, claims, planned)
    assert await counts(store, planned) == {}


async def test_an_acknowledged_job_without_a_record_is_lost(store: Store, claims: Claims) -> None:
    planned = Planned("k", (5,))
    claim = await read(store, claims, planned)
    await store.delete(claim.job.id)
    assert await counts(store, planned) == {"lost": 1}


async def test_an_unfinished_job_is_lost(store: Store) -> None:
    planned = Planned("k", (5,))
    planned.ids.append((await store.submit(new_job(1), b"x")).job_id)
    assert await counts(store, planned) == {"lost": 1}


@pytest.mark.parametrize("counter", ["jobs", "pages", "bytes", "running", "sub:3"])
async def test_a_counter_that_the_records_do_not_add_up_to_is_drift(
    store: Store, claims: Claims, valkey: Valkey, counter: str
) -> None:
    planned = Planned("k", (5,))
    await read(store, claims, planned)
    valkey.client.hincrby("counters", counter, 1)
    assert await counts(store, planned) == {"drift": 1}


async def test_a_place_in_the_queue_that_is_left_is_drift(store: Store, claims: Claims, valkey: Valkey) -> None:
    planned = Planned("k", (5,))
    claim = await read(store, claims, planned)
    valkey.client.zadd("waiting:3", {claim.job.id: 1})
    valkey.client.zadd("open", {claim.job.id: 1})
    assert await counts(store, planned) == {"drift": 2}


async def test_keys_without_a_record_or_without_an_end_are_left_behind(
    store: Store, claims: Claims, valkey: Valkey
) -> None:
    planned = Planned("k", (5,))
    claim = await read(store, claims, planned)
    valkey.client.set("pages:01JD0000000000000000000000", "of nobody")
    valkey.client.persist(f"ev:{claim.job.id}")
    valkey.client.set(f"in:{claim.job.id}", "x", ex=60)
    assert await counts(store, planned) == {"left behind": 3}


async def test_streamed_text_that_is_not_the_stored_one_is_found(store: Store, claims: Claims) -> None:
    text = answer(picture(5))
    for streamed, pages, found in (
        (text + "\n", {1: text}, {}),
        (text[:-1], {1: text}, {"streamed otherwise": 1}),
        (text, {1: text + text}, {"streamed otherwise": 1}),
        (text, {}, {"streamed otherwise": 1}),
    ):
        planned = Planned("k", (5,), streamed=streamed, pages_streamed=pages)
        await read(store, claims, planned)
        assert await counts(store, planned) == found, (streamed, pages)


async def test_a_call_that_broke_off_leaves_an_ended_job(store: Store) -> None:
    planned = Planned("k", (5,), follow="call")
    planned.given_up.append((await store.submit(new_job(1), b"x")).job_id)
    assert await counts(store, planned) == {"lost": 1}
    await store.cancel(planned.given_up[0])
    assert await counts(store, planned) == {}


async def test_another_text_is_wrong(store: Store, claims: Claims) -> None:
    planned = Planned("k", (5,))
    await read(store, claims, planned, wrong=True)
    assert await counts(store, planned) == {"wrong": 1}


async def test_two_ids_for_one_key_are_found(store: Store, claims: Claims) -> None:
    planned = Planned("k", (5,))
    await read(store, claims, planned)
    await read(store, claims, planned)
    assert await counts(store, planned) == {"second id": 1}


@pytest.mark.parametrize(
    ("event", "kind"),
    [("done", "twice"), ("page.started", "pages redone")],
)
async def test_a_second_end_and_a_page_begun_again_are_found(
    store: Store, claims: Claims, valkey: Valkey, event: str, kind: str
) -> None:
    planned = Planned("k", (5,))
    claim = await read(store, claims, planned)
    valkey.client.xadd(f"ev:{claim.job.id}", {"event": event, "data": '{"page": 1}'})
    assert await counts(store, planned) == {kind: 1}
