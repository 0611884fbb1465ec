"""One job from its claim to its end, with a scripted engine and the real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.contract.document import PageStatus
from shared.contract.options import Options
from shared.errors import EngineDead, InferenceError, PreprocessingError
from shared.store.jobs import Store, StoredEvent
from tests.conftest import make_settings
from tests.settings import Settings
from tests.unit.worker.scripted import (
    Held,
    RecordingClaims,
    Script,
    ScriptedEngine,
    UnrenderedPages,
    read_at_once,
    red,
    worker_context,
)
from tools.uploads import picture, submit
from tools.valkey import Valkey
from worker.claims import Claim, Claims
from worker.engines.base import FigureCrop, PageImage, PageRead, Piece, Restarted
from worker.job_runner import ClaimLost, JobRunner, WorkerContext
from worker.render import Upload


@pytest.fixture
def recording(claims: Claims) -> RecordingClaims:
    return RecordingClaims(claims)


async def claimed(store: Store, claims: Claims, pages: int = 1, **more: Any) -> Claim:
    claim = await claims.claim(await submit(store, b"upload", "application/pdf", pages, **more), "t1")
    assert claim is not None
    return claim


async def after_a_death(store: Store, claims: Claims, pages: int, suspects: list[int], deaths: int = 1) -> Claim:
    """The claim of a job whose worker died, ``deaths`` times, while the suspects were being read."""
    patient, claims.settings = claims.settings, claims.settings.model_copy(update={"lease": 1e-6})
    claim: Claim | None = await claimed(store, claims, pages)
    for death in range(deaths):
        assert claim is not None
        for number in suspects:
            await claims.page_start(claim, number)
        if death + 1 == deaths:
            claims.settings = patient
        claim = await claims.claim(claim.job.id, f"t{2 + death}")
    assert claim is not None
    assert claim.starts == dict.fromkeys(suspects, deaths)
    return claim


async def names(store: Store, claim: Claim) -> list[str]:
    return [event.name for event in await store.events(claim.job.id)]


async def of_page(store: Store, claim: Claim, number: int) -> list[StoredEvent]:
    return [event for event in await store.events(claim.job.id) if event.event.payload().get("page") == number]


async def run(context: WorkerContext, claim: Claim) -> None:
    async with asyncio.timeout(10):
        await JobRunner(context, claim).run()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


# -- suspects


async def test_pages_that_were_part_of_a_death_are_read_before_all_others(
    store: Store, recording: RecordingClaims, settings: Settings
) -> None:
    claim = await after_a_death(store, recording, 5, [3, 5])
    recording.begun.clear()
    await run(worker_context(settings, recording, ScriptedEngine(), render_slots=1), claim)
    assert recording.begun == [3, 5, 1, 2, 4]


async def test_pages_that_were_part_of_a_death_are_read_one_at_a_time(
    store: Store, claims: Claims, settings: Settings
) -> None:
    claim = await after_a_death(store, claims, 6, [2, 4, 6])
    engine = ScriptedEngine(held := Held())
    running = asyncio.create_task(run(worker_context(settings, claims, engine), claim))
    await until(lambda: {1, 3, 5} <= engine.inside)  # claimed and rendered after every suspect
    assert engine.inside == {2, 1, 3, 5}
    held.release.set()
    await running
    assert (await store.job(claim.job.id)).status == "succeeded"


async def test_suspects_of_two_jobs_are_not_read_together(store: Store, claims: Claims, settings: Settings) -> None:
    first, second = await after_a_death(store, claims, 1, [1]), await after_a_death(store, claims, 2, [2])
    engine = ScriptedEngine(held := Held())
    context = worker_context(settings, claims, engine)
    one = asyncio.create_task(run(context, first))
    await until(lambda: engine.inside == {1})
    started, held.release = engine.inside, asyncio.Event()
    other = asyncio.create_task(run(context, second))
    await until(lambda: context.render_slots.free == 5)
    assert 2 not in started
    one.cancel()
    held.release.set()
    await other
    assert (await store.job(second.job.id)).status == "succeeded"


async def test_a_page_of_as_many_deaths_as_allowed_fails_unread_and_its_neighbours_do_not(
    store: Store, recording: RecordingClaims, valkey: Valkey
) -> None:
    settings = make_settings(valkey.url, page_attempts=2)
    claim = await after_a_death(store, recording, 3, [2], deaths=2)
    recording.begun.clear()
    await run(worker_context(settings, recording, ScriptedEngine()), claim)
    marks = {page.number: page for page in (await store.job(claim.job.id)).pages}
    assert (marks[2].status, marks[2].reason, marks[2].attempts) == ("failed", "poison", 2)
    assert [marks[number].status for number in (1, 3)] == ["ok", "ok"]
    assert sorted(recording.begun) == [1, 3]


async def test_a_page_one_death_below_the_limit_is_read_once_more(
    store: Store, claims: Claims, settings: Settings
) -> None:
    claim = await after_a_death(store, claims, 1, [1], deaths=settings.page_attempts - 1)
    await run(worker_context(settings, claims, ScriptedEngine()), claim)
    (page,) = (await store.job(claim.job.id)).pages
    assert (page.status, page.attempts) == ("ok", settings.page_attempts)


# -- order


class FirstPageSlow(UnrenderedPages):
    """Renders the first page once every other one has been rendered, or once ``until`` is set."""

    def __init__(
        self, settings: Settings, pages: int, *, fails: bool = False, until: asyncio.Event | None = None
    ) -> None:
        super().__init__(settings)
        self._others, self._fails, self._until = pages - 1, fails, until
        self._rendered = asyncio.Semaphore(0)

    async def page(self, upload: Upload, number: int, text_layer: bool = False) -> PageImage:
        if number > 1:
            self._rendered.release()
            return await super().page(upload, number, text_layer)
        for _ in range(self._others):
            await self._rendered.acquire()
        if self._until is not None:
            await self._until.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # whoever does not wait for this page queues now
        if self._fails:
            raise PreprocessingError("this page cannot be rendered")
        return await super().page(upload, number, text_layer)


@pytest.mark.parametrize(("fails", "begun"), [(False, [1, 2, 3]), (True, [2, 3])])
async def test_pages_are_begun_in_their_order_whichever_is_rendered_first(
    store: Store, recording: RecordingClaims, settings: Settings, fails: bool, begun: list[int]
) -> None:
    claim = await claimed(store, recording, 3)
    context = worker_context(settings, recording, ScriptedEngine(), engine_slots=1)
    context.renderer = FirstPageSlow(settings, 3, fails=fails)
    await run(context, claim)
    assert recording.begun == begun


async def test_a_page_that_takes_long_to_render_is_overtaken(
    store: Store, recording: RecordingClaims, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.job_runner.ORDER_SECONDS", 0.01)
    claim = await claimed(store, recording, 3)
    others_read = asyncio.Event()
    context = worker_context(settings, recording, ScriptedEngine(), engine_slots=1)
    context.renderer = FirstPageSlow(settings, 3, until=others_read)
    running = asyncio.create_task(run(context, claim))
    while len(recording.begun) < 2:
        await asyncio.sleep(0.005)
    others_read.set()
    await running
    assert recording.begun == [2, 3, 1]


# -- a page's text and its end


async def test_the_last_text_of_a_page_comes_before_its_end(store: Store, claims: Claims, settings: Settings) -> None:
    claim = await claimed(store, claims, 2)
    await run(worker_context(settings, claims, ScriptedEngine()), claim)
    for number in (1, 2):
        assert [event.name for event in await of_page(store, claim, number)] == [
            "page.started",
            "token",
            "page.completed",
        ]
    assert (await names(store, claim))[-1] == "done"


async def test_a_page_read_again_says_so_between_the_two_texts(
    store: Store, claims: Claims, settings: Settings
) -> None:
    async def twice(page: PageImage) -> AsyncIterator[Piece]:
        yield "first"
        yield Restarted("repetition")
        yield "second "
        yield "try"
        yield PageRead("second try", status=PageStatus.DEGRADED, reason="repetition", attempts=2)

    claim = await claimed(store, claims)
    await run(worker_context(settings, claims, ScriptedEngine(twice)), claim)
    payloads = [(entry.name, entry.event.payload()) for entry in await of_page(store, claim, 1)]
    events = [(name, payload.get("text") or payload.get("reason")) for name, payload in payloads]
    assert events == [
        ("page.started", None), ("token", "first"), ("page.restarted", "repetition"), ("token", "second try"),
        ("page.completed", "repetition"),
    ]  # fmt: skip
    job = await store.job(claim.job.id)
    assert (job.status, job.pages[0].status, job.pages[0].attempts) == ("partial", "degraded", 2)


# -- what is kept of a page


async def test_a_pages_picture_is_kept_as_the_engine_saw_it(store: Store, claims: Claims, settings: Settings) -> None:
    async def turned(page: PageImage) -> AsyncIterator[Piece]:
        yield PageRead("x", upright=red(), figures=(FigureCrop("1_0.jpg", (0, 0, 5, 5), b"jpeg"),))

    claim = await claimed(store, claims)
    await run(worker_context(settings, claims, ScriptedEngine(turned)), claim)
    (page,) = await store.pages(claim.job.id)
    assert (page.width, page.height) == red().size
    assert (await store.page_image(claim.job.id, 1) or b"")[8:12] == b"WEBP"
    assert await store.figures(claim.job.id) == {"1_0.jpg": b"jpeg"}
    assert [(figure.name, figure.bbox) for figure in page.figures] == [("1_0.jpg", (0, 0, 5, 5))]


async def test_no_picture_is_kept_where_the_operator_wants_none(store: Store, claims: Claims, valkey: Valkey) -> None:
    settings = make_settings(valkey.url, keep_page_images=False)
    claim = await claimed(store, claims)
    await run(worker_context(settings, claims, ScriptedEngine()), claim)
    assert (await store.job(claim.job.id)).status == "succeeded"
    assert await store.page_image(claim.job.id, 1) is None
    assert valkey.client.keys(f"img:{claim.job.id}*") == []


async def test_the_text_layer_is_asked_for_only_where_the_caller_prefers_it(
    store: Store, claims: Claims, settings: Settings
) -> None:
    layers: list[object] = []

    async def noting(page: PageImage) -> AsyncIterator[Piece]:
        layers.append(page.text_layer)
        yield PageRead("x")

    for options in (Options(), Options(text_layer="prefer")):
        claim = await claimed(store, claims, options=options)
        await run(worker_context(settings, claims, ScriptedEngine(noting)), claim)
    assert layers == [None, ()]


# -- what goes wrong


async def refuses(page: PageImage) -> AsyncIterator[Piece]:
    if page.number == 1:
        raise InferenceError("this page is refused")
    async for piece in read_at_once(page):
        yield piece


async def says_nothing(page: PageImage) -> AsyncIterator[Piece]:
    if page.number == 1:
        return
    async for piece in read_at_once(page):
        yield piece


async def never_ends(page: PageImage) -> AsyncIterator[Piece]:
    if page.number == 1:
        await asyncio.Event().wait()
    async for piece in read_at_once(page):
        yield piece


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (refuses, "inference-failed: this page is refused"),
        (says_nothing, "inference-failed: the engine ended without a page"),
        (never_ends, "timeout"),
    ],
    ids=["refused", "nothing", "no end"],
)
async def test_a_page_that_cannot_be_read_fails_alone_with_its_reason(
    store: Store, claims: Claims, valkey: Valkey, script: Script, reason: str
) -> None:
    settings = make_settings(valkey.url, page_timeout=0.2 if script is never_ends else 30)
    claim = await claimed(store, claims, 2)
    engine = ScriptedEngine(script)
    await run(worker_context(settings, claims, engine), claim)
    job = await store.job(claim.job.id)
    assert (job.status, [page.status for page in job.pages]) == ("partial", ["failed", "ok"])
    assert (job.pages[0].reason or "").startswith(reason)
    assert (await store.page_image(job.id, 1) or b"")[8:12] == b"WEBP"  # to be looked at, and retried from
    failed, _ = await store.pages(job.id)
    assert (failed.width, failed.height) == picture(1).size
    assert engine.inside == set()


async def test_a_dead_engine_is_raised_and_its_page_counts_as_begun(
    store: Store, claims: Claims, settings: Settings
) -> None:
    async def dies(page: PageImage) -> AsyncIterator[Piece]:
        yield "half"
        raise EngineDead("the core process is gone")

    claim = await claimed(store, claims)
    with pytest.raises(ExceptionGroup) as caught:
        await run(worker_context(settings, claims, ScriptedEngine(dies)), claim)
    assert caught.group_contains(EngineDead)
    assert (await of_page(store, claim, 1))[-1].name == "page.restarted"
    await claims.release(claim, forgive=False)
    again = await claims.claim(claim.job.id, "t2")
    assert again is not None
    assert again.starts == {1: 1}


@pytest.mark.parametrize("moment", ["before it begins", "while a page is read"])
async def test_a_cancelled_job_stops_and_nothing_of_it_is_stored(
    store: Store, claims: Claims, settings: Settings, moment: str
) -> None:
    claim = await claimed(store, claims)
    engine = ScriptedEngine(held := Held())
    if moment == "before it begins":
        await store.cancel(claim.job.id)
        with pytest.raises(ClaimLost):
            await run(worker_context(settings, claims, engine), claim)
    else:
        running = asyncio.create_task(run(worker_context(settings, claims, engine), claim))
        await until(lambda: engine.inside)
        await store.cancel(claim.job.id)
        held.release.set()
        with pytest.raises(ExceptionGroup) as caught:
            await running
        assert caught.group_contains(ClaimLost)
    job = await store.job(claim.job.id)
    assert (job.status, job.progress.pages_done, await store.pages(job.id)) == ("cancelled", 0, [])


async def test_slots_are_given_back_whatever_becomes_of_the_job(
    store: Store, claims: Claims, settings: Settings
) -> None:
    context = worker_context(settings, claims, ScriptedEngine(refuses))
    await run(context, await claimed(store, claims, 3))
    lost = await claimed(store, claims, 3)
    await claims.release(lost)
    with pytest.raises(ExceptionGroup) as caught:
        await run(context, lost)
    assert caught.group_contains(ClaimLost)
    assert (context.render_slots.free, context.engine_slots.free) == (8, 8)


async def test_a_worker_that_stops_gives_a_job_back_with_the_pages_it_had_read(
    store: Store, claims: Claims, settings: Settings
) -> None:
    claim = await claimed(store, claims, 4)
    engine = ScriptedEngine(held := Held())
    context = worker_context(settings, claims, engine, render_slots=3, engine_slots=2)
    running = asyncio.create_task(run(context, claim))
    await until(lambda: engine.inside == {1, 2})
    context.close()
    held.release.set()
    await running
    job = await store.job(claim.job.id)
    assert (job.status, [page.number for page in job.pages]) == ("queued", [1, 2])
    again = await claims.claim(job.id, "t2")
    assert again is not None
    assert (set(again.ended), again.starts) == ({1, 2}, {1: 1, 2: 1})
