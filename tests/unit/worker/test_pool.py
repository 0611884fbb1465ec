"""The pool between Celery's consumer and the event loop, without a broker."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu.asynchronous import Hub
from kombu.message import Message
from vine import promise

from worker.broker.pool import TaskPool, run_task


class Acknowledged:
    """The channel of a message: notes what was acknowledged."""

    no_ack_consumers: frozenset[str] | None = None

    def __init__(self) -> None:
        self.tags: list[Any] = []

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        self.tags.append(delivery_tag)

    def message_to_python(self, message: Any) -> Any:
        return message


@pytest.fixture
def pool() -> Iterator[TaskPool]:
    made = TaskPool(1)
    yield made
    made._tracers.shutdown(wait=True)
    made.loop.close()


@pytest.fixture
def hub(pool: TaskPool) -> Iterator[Hub]:
    made = Hub()
    pool.register_with_event_loop(made)
    yield made
    made.close()


def turns(hub: Hub, condition: Callable[[], Any]) -> int:
    """Turn the hub until the condition holds; how often it was turned."""
    deadline, turned = time.monotonic() + 10, 0
    while not condition():
        next(hub.loop)
        turned += 1
        assert time.monotonic() < deadline
    return turned


def test_a_task_that_ended_is_acknowledged_before_the_hub_waits_again(pool: TaskPool, hub: Hub) -> None:
    """Celery acknowledges through the hub; from its own thread that would wait for its next poll, up to a second."""
    channel = Acknowledged()
    message = Message(body=b"", delivery_tag=7, channel=channel)
    ended: list[str] = []

    def done(answer: str) -> None:
        ended.append(answer)
        hub.call_soon(promise(message.ack_log_error, (None, (OSError,))))

    pool.on_apply(lambda: "read", callback=done)
    turns(hub, lambda: ended)
    assert (ended, channel.tags) == (["read"], [7])


def test_a_task_that_raises_ends_by_its_error_callback(pool: TaskPool, hub: Hub) -> None:
    failed: list[Any] = []

    def fails() -> None:
        raise MemoryError("all gone")

    pool.on_apply(fails, callback=failed.append, error_callback=lambda info: failed.append(info.type))
    turns(hub, lambda: failed)
    assert failed == [MemoryError]
    assert not pool.tasks


def test_a_callback_that_fails_keeps_no_other_from_its_turn(pool: TaskPool, hub: Hub) -> None:
    ended: list[str] = []

    def broken(_answer: Any) -> None:
        raise RuntimeError("a bug")

    pool.on_apply(lambda: "one", callback=broken)
    pool.on_apply(lambda: "two", callback=ended.append)
    turns(hub, lambda: ended and not pool.tasks)
    assert ended == ["two"]


def test_taking_a_task_never_blocks_and_accepts_it_at_once(pool: TaskPool, hub: Hub) -> None:
    release, accepted, ended = threading.Event(), list[int](), list[str]()

    def waits() -> str:
        release.wait(10)
        return "done"

    for _ in range(100):
        pool.on_apply(waits, callback=ended.append, accept_callback=lambda pid, at: accepted.append(pid))
    assert (len(accepted), len(pool.tasks), ended) == (100, 100, [])
    release.set()
    turns(hub, lambda: not pool.tasks)
    assert len(ended) == 100


@pytest.fixture
def running(pool: TaskPool) -> Iterator[TaskPool]:
    """A pool whose loop runs."""
    pool._loop_thread.start()
    yield pool
    pool._closed = True
    pool.loop.call_soon_threadsafe(pool.loop.stop)
    pool._loop_thread.join()


def test_a_task_that_is_cancelled_ends_after_its_coroutine(running: TaskPool, hub: Hub) -> None:
    """Or a cold shutdown would close the store before the job is given back."""
    reading, ended, order = threading.Event(), threading.Event(), list[str]()

    async def read() -> None:
        reading.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.to_thread(ended.wait, 0.2)
            order.append("the job is given back")

    def traced() -> None:
        try:
            run_task(read())
        finally:
            order.append("the task ends")
            ended.set()

    task = running.on_apply(traced, callback=order.append, error_callback=order.append)
    assert reading.wait(10)
    task.cancel("terminated")
    turns(hub, lambda: not running.tasks)
    assert order == ["the job is given back", "the task ends"], "and its message is left to the broker"


def test_a_task_that_is_cancelled_before_its_coroutine_begins_never_begins_it(running: TaskPool, hub: Hub) -> None:
    order, traced, held = list[str](), threading.Event(), threading.Event()

    async def read() -> None:
        order.append("begun")

    def trace() -> None:
        traced.set()
        run_task(read())

    running.loop.call_soon_threadsafe(held.wait, 10)
    task = running.on_apply(trace, callback=order.append, error_callback=order.append)
    assert traced.wait(10)
    task.cancel("terminated")
    held.set()
    turns(hub, lambda: not running.tasks)
    assert not order
