"""Celery's pool for an engine that reads many pages at once: one process, one event loop, concurrency 1.

``CELERY_CUSTOM_WORKER_POOL=worker.broker.pool:TaskPool celery -A worker.app worker --pool custom --concurrency 1``

* ``on_apply`` never blocks. Each reserved message is traced by Celery's stock tracer in a cheap waiting thread (states,
  events and acknowledgements stay Celery's), while the work runs on the one event loop: in flight =
  prefetch count = 1 x ``worker_prefetch_multiplier``.
* ``worker_process_init`` is sent before the consumer connects, so no job is taken until the engine is ready; a handler
  that raises or answers an error ends the worker with exit code 70 (Celery itself would only log it and serve without
  an engine).
* Callbacks run on the consumer's thread, so a message's state is touched by one thread only.
* Revoking a running task, time limits and a cold shutdown cancel its coroutine, and the task ends when that has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

from billiard.einfo import ExceptionInfo
from celery import signals
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import _run_ready_callbacks
from celery.exceptions import Ignore, SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate
from celery.utils.log import get_logger
from celery.worker import state

from shared.errors import OCRError
from worker.broker.intake import Intake

T = TypeVar("T")
logger = get_logger(__name__)
_tracing = threading.local()  # .task: the Running whose trace runs in this thread
_pool: TaskPool | None = None

EXIT_NOT_READY = 70  # sysexits.h: EX_SOFTWARE
EXIT_DEAD = 71  # the engine, or a loop that must not end


def on_init(start: Callable[[], object]) -> None:
    """Call ``start`` at ``worker_process_init``.

    An error of ours is answered, not raised: Celery logs a traceback for what is raised, and where an operator has to
    mend something its one line is all there is to say.
    """

    def receiver(**_: Any) -> OCRError | None:
        try:
            start()
        except OCRError as error:
            return error
        return None

    signals.worker_process_init.connect(receiver, weak=False)


def on_loop(coroutine: Coroutine[Any, Any, T], *, ending: bool = False) -> T:
    """Run a coroutine on the pool's loop and wait for it in this thread: for signal handlers.

    A TERM meanwhile cancels it and ends the worker: loading an engine may take minutes. Not so while it is ``ending``
    already: then the coroutine is what ends it.
    """
    if _pool is None:
        raise RuntimeError("the pool has not been started")
    future = asyncio.run_coroutine_threadsafe(coroutine, _pool.loop)
    while not wait([future], timeout=0.2).done:
        if not ending and (state.should_stop is not None or state.should_terminate is not None):
            future.cancel()
            raise WorkerShutdown(0)
    return future.result()


def call_soon(function: Callable[[], object]) -> None:
    """Have the loop call a function; does nothing before the pool has started."""
    if _pool is not None:
        _pool.loop.call_soon_threadsafe(function)


def run_task(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a task's body calls: run on the pool's loop, cancellable by revoke, time limit and shutdown."""
    return _tracing.task.run(coroutine)  # type: ignore[no-any-return]


def stop_worker(exit_code: int) -> None:
    """Have Celery's consumer shut down warmly and exit with this code."""
    state.should_stop = exit_code


def take_messages(wanted: bool) -> None:
    """Have Celery's consumer take messages of its queue, or leave them to other workers. May be called again."""
    if _pool is not None:
        _pool._on_consumer(_pool.intake.set, wanted)


class Running:
    """A task in flight; Celery's Request keeps it as its ApplyResult (weakly) and calls ``terminate``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reading: asyncio.Task[Any] | None = None  # this and the next are touched on the loop
        self._cancelled: str | None = None  # terminated | soft | hard
        self.timers: list[asyncio.TimerHandle] = []
        self.dropped = False  # really cut short: Celery or the broker has dealt with the message

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(self._run(coroutine), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise self._cut_short() from None

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._cancelled is not None:
            coroutine.close()
            raise asyncio.CancelledError
        self._reading = asyncio.current_task()
        return await coroutine

    def _cut_short(self) -> Exception:
        if self._cancelled == "soft":
            return SoftTimeLimitExceeded()  # type: ignore[no-any-return]
        if self._cancelled is None:
            return RuntimeError("the task's coroutine was cancelled from within")
        self.dropped = True
        return Ignore()  # type: ignore[no-any-return]

    def cancel(self, why: str) -> None:
        """The task has ended once its coroutine has, not sooner: what it still does is to give its job back."""
        self._loop.call_soon_threadsafe(self._cancel, why)

    def _cancel(self, why: str) -> None:
        self._cancelled = self._cancelled or why
        if self._reading is not None:
            self._reading.cancel()

    def terminate(self, _signal: int) -> None:
        self.cancel("terminated")


class TaskPool(BasePool):  # type: ignore[misc]
    body_can_be_buffer = True
    signal_safe = False
    task_join_will_block = True
    close_seconds = 20.0  # a worker that has not closed its engine by then ends without

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit: int = self.limit or 1
        self.tasks: set[Running] = set()  # strong references: Request has only a weak one
        self.intake = Intake()
        self.loop = asyncio.new_event_loop()
        self._hub: Any = None
        self._callbacks: deque[tuple[Callable[..., object] | None, tuple[Any, ...]]] = deque()
        self._idle = threading.Condition()
        self._closed = False
        self._tracers = ThreadPoolExecutor(max_workers=4096, thread_name_prefix="trace")
        self._loop_thread = threading.Thread(target=self._run_loop, name="engine-loop", daemon=True)

    def _run_loop(self) -> None:
        """The loop outlives everything but its process: where something ends it (``SystemExit`` does), both end."""
        try:
            self.loop.run_forever()
        finally:
            if not self._closed:
                logger.critical("the engine's event loop has ended, and with it this process", exc_info=True)
                os._exit(EXIT_DEAD)

    def register_with_event_loop(self, hub: Any) -> None:
        # Called at every (re)connect. kombu's global get_event_loop() is None after the first reconnect.
        self._hub = hub

    # -- life

    def on_start(self) -> None:
        global _pool  # Celery makes one pool a process and hands it to nobody
        _pool = self
        self._loop_thread.start()
        answers = signals.worker_process_init.send(sender=self.options.get("initargs", (None, None))[1])
        for _receiver, answer in answers:
            if isinstance(answer, BaseException):
                logger.critical("not ready: %s", answer)
                self._close()
                raise WorkerShutdown(EXIT_NOT_READY)

    def on_stop(self) -> None:
        """Warm shutdown: every task ends, and its message is acknowledged as it ends."""
        while True:
            self._drain()
            self._acknowledge()
            with self._idle:
                if not self.tasks and not self._callbacks:
                    break
                self._idle.wait(0.2)
        self._acknowledge()
        self._close()

    def on_terminate(self) -> None:
        """Cold shutdown: tasks are cancelled; the broker puts their messages back."""
        for task in list(self.tasks):
            task.cancel("terminated")
        deadline = time.monotonic() + 5
        while self.tasks and time.monotonic() < deadline:
            self._drain()
            time.sleep(0.05)
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # A hung engine must not keep the process: its threads would block the interpreter's exit.
        doom = threading.Timer(self.close_seconds, os._exit, (EXIT_DEAD,))
        doom.daemon = True
        doom.start()
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=0)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._loop_thread.join()
        self._tracers.shutdown(wait=False, cancel_futures=True)

    # -- work

    def on_apply(  # Celery's signature
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        accept_callback: Callable[[int, float], object] | None = None,
        timeout_callback: Callable[[bool, float], object] | None = None,
        error_callback: Callable[[ExceptionInfo], object] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Running:
        task = Running(self.loop)
        with self._idle:
            self.tasks.add(task)
        if accept_callback is not None:
            accept_callback(os.getpid(), time.monotonic())
        for seconds, why in ((soft_timeout, "soft"), (timeout, "hard")):
            if seconds:
                self.loop.call_soon_threadsafe(self._arm, task, seconds, why, timeout_callback)
        self._tracers.submit(self._trace, task, target, args, kwargs or {}, callback, error_callback)
        return task

    def _arm(self, task: Running, seconds: float, why: str, callback: Callable[..., object] | None) -> None:
        def expire() -> None:
            if task in self.tasks:
                self._on_consumer(callback, why == "soft", seconds)
                task.cancel(why)

        if task in self.tasks:
            task.timers.append(self.loop.call_later(seconds, expire))

    def _trace(
        self,
        task: Running,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[ExceptionInfo], object] | None,
    ) -> None:
        done: Callable[[Any], object] | None
        _tracing.task = task
        try:
            done, answer = callback, target(*args, **kwargs)
        except (WorkerShutdown, WorkerTerminate, KeyboardInterrupt, SystemExit):
            done, answer = None, None
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:  # noqa: BLE001  # MemoryError, Reject: out of the tracer itself, or the slot leaks
            done, answer = error_callback, ExceptionInfo()
        finally:
            _tracing.task = None
        for timer in task.timers:
            self.loop.call_soon_threadsafe(timer.cancel)
        self._on_consumer(self._end, task, done, answer)

    def _end(self, task: Running, done: Callable[[Any], object] | None, answer: Any) -> None:
        try:
            # A revoke or time limit has acknowledged the message already; a cold shutdown or lost connection has not
            # and must not: kombu puts it back.
            if done is not None and not task.dropped:
                done(answer)
        finally:
            with self._idle:
                self.tasks.discard(task)
                self._idle.notify_all()

    # -- the consumer's thread

    def _on_consumer(self, function: Callable[..., object] | None, *args: Any) -> None:
        self._callbacks.append((function, args))
        if self._hub is not None:
            self._hub.call_soon(self._drain)
        with self._idle:
            self._idle.notify_all()

    def _drain(self) -> None:
        ran = False
        with suppress(IndexError):
            while True:
                function, args = self._callbacks.popleft()
                ran = True
                self._call(function, args)
        if ran:
            # Acknowledgements queued just now from the hub's own thread would wait for its next poll (up to 1 s).
            self._acknowledge()

    @staticmethod
    def _call(function: Callable[..., object] | None, args: tuple[Any, ...]) -> None:
        try:
            if function is not None:
                function(*args)
        except Exception:
            logger.exception("a callback of the pool failed")

    def _acknowledge(self) -> None:
        if self._hub is not None:
            _run_ready_callbacks(self._hub)

    # -- remote control

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Nothing: ``Request.terminate`` calls ``Running.terminate``."""

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        return info | {
            "max-concurrency": self.limit, "processes": [os.getpid()], "in-flight": len(self.tasks),
            "draining": not self.intake.wanted,
        }  # fmt: skip
