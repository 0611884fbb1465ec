"""A process's one service, between Celery's signals: started before a message is taken, drained, closed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from celery.signals import worker_process_shutdown, worker_shutting_down

from shared.process import freeze_objects
from worker.broker import pool


class HostedService(Protocol):
    """What is hosted: it lives on the pool's loop."""

    def drain(self) -> None:
        """Begin nothing more."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


S = TypeVar("S", bound=HostedService)


class ServiceHost(Generic[S]):
    """Celery's tasks are functions: the service that they call lives here. ``service`` is None until it has started."""

    def __init__(self) -> None:
        self.service: S | None = None

    def host(self, start: Callable[[], Coroutine[Any, Any, S]]) -> None:
        """Have the pool call ``start``, once; what it raises keeps the process from taking any message."""

        def started() -> None:
            self.service = pool.on_loop(start())
            freeze_objects()

        pool.on_init(started)
        worker_shutting_down.connect(self._drain)
        worker_process_shutdown.connect(self._close)

    def _drain(self, **_: Any) -> None:
        if self.service is not None:
            pool.call_soon(self.service.drain)

    def _close(self, **_: Any) -> None:
        if self.service is not None:
            pool.on_loop(self.service.close(), ending=True)


def end_worker() -> None:
    """For a service that cannot go on: end the worker, and say by the exit code that it is dead."""
    pool.stop_worker(pool.EXIT_DEAD)
