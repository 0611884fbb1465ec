"""Loops that must live as long as their process: what they survive, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared import tasks
from shared.errors import StoreFull, StoreUnavailable
from shared.tasks import Loops


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(tasks, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(tasks, "TICK", 0.005)


class Ends:
    """Counts how often a process was to end."""

    def __init__(self) -> None:
        self.count = 0
        self.came = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self.came.set()


@pytest.fixture
async def ends() -> Ends:
    return Ends()


@pytest.fixture
async def loops(ends: Ends, tmp_path: Path) -> AsyncIterator[Loops]:
    made = Loops(ends, tmp_path / "alive")
    yield made
    await made.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_loop_goes_on_whatever_the_store_says(loops: Loops, ends: Ends) -> None:
    answers = [StoreUnavailable(), StoreFull(), StoreUnavailable("The store does not serve"), None, None]
    taken: list[object] = []

    async def step() -> None:
        answer = answers.pop(0) if answers else None
        taken.append(answer)
        if answer is not None:
            raise answer

    loops.start("one", step, 0.001)
    await until(lambda: len(taken) > 6)
    assert ends.count == 0


async def test_a_loop_outlives_an_outage_of_hours(loops: Loops, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LONGEST_PAUSE", 0.0)
    steps = 0

    async def step() -> None:
        nonlocal steps
        steps += 1
        raise StoreUnavailable

    loops.start("one", step)
    await until(lambda: steps > 2000)
    assert ends.count == 0


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x"), asyncio.CancelledError()])
async def test_whatever_else_ends_a_loop_ends_the_process_once(
    loops: Loops, ends: Ends, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def step() -> None:
        raise error

    loops.start("one", step)
    loops.start("two", step)
    await until(lambda: ends.count)
    await asyncio.sleep(0.02)
    assert ends.count == 1
    assert any(
        record.levelname == "CRITICAL" and "the loop one has ended" in record.message for record in caplog.records
    )


async def test_the_heartbeat_file_vouches_for_every_loop(
    loops: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SILENT_TICKS", 3)
    monkeypatch.setattr(tasks, "HUNG_TICKS", 10**6)
    hangs, file = asyncio.Event(), tmp_path / "alive"

    async def well() -> None:
        """One step after the other."""

    async def other() -> None:
        if hangs.is_set():
            await asyncio.Event().wait()

    loops.start("well", well, 0.001)
    loops.start("other", other, 0.001)
    await until(file.exists)
    hangs.set()
    await asyncio.sleep(0.1)
    file.unlink()
    await asyncio.sleep(0.05)
    assert not file.exists()


async def test_a_loop_that_hangs_ends_the_process(loops: Loops, ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "SILENT_TICKS", 2)
    monkeypatch.setattr(tasks, "HUNG_TICKS", 4)

    async def step() -> None:
        await asyncio.Event().wait()

    loops.start("one", step)
    async with asyncio.timeout(5):
        await ends.came.wait()
    assert ends.count == 1


async def test_loops_that_are_stopped_end_nothing(ends: Ends) -> None:
    loops = Loops(ends)

    async def step() -> None:
        """Nothing."""

    loops.start("one", step, 0.001)
    await asyncio.sleep(0.01)
    await loops.stop()
    assert ends.count == 0


async def test_calm_begins_anew_with_every_refusal(loops: Loops) -> None:
    refused = asyncio.Event()

    async def step() -> None:
        if not refused.is_set():
            refused.set()
            raise StoreUnavailable

    assert loops.calm_seconds == float("inf")
    loops.start("one", step, 0.001)
    await refused.wait()
    await until(lambda: loops.calm_seconds > 0.01)
    assert loops.calm_seconds < 5
