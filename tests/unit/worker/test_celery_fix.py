"""What a broken connection leaves in Celery's event loop."""

from __future__ import annotations

from kombu import Connection
from kombu.asynchronous import Hub

from tools.valkey import Valkey
from worker.broker import celery_fix


def waiting(hub: Hub) -> int:
    return sum(1 for scheduled in hub.timer._queue if not scheduled.entry.canceled)


def test_a_new_connection_takes_the_place_of_the_one_before_in_the_loop(valkey: Valkey) -> None:
    celery_fix.install()
    hub = Hub()
    try:
        found = []
        for _ in range(3):
            connection = Connection(valkey.url)
            connection.transport.register_with_event_loop(connection.connection, hub)
            found.append((waiting(hub), len(hub.on_tick)))
        assert found == [(len(celery_fix.TIMERS), 1)] * 3
    finally:
        hub.close()
