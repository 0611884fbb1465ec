"""What a broken connection leaves in Celery's event loop."""

from __future__ import annotations

import gc
import weakref

import pytest
from kombu import Connection
from kombu.asynchronous import Hub
from redis.exceptions import ResponseError

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


def test_a_connection_that_could_not_be_registered_is_let_go(valkey: Valkey) -> None:
    celery_fix.install()
    hub, connection = Hub(), Connection(valkey.url)
    try:
        transport, channel = connection.connection, weakref.ref(connection.connection.channels[0])
        valkey.client.config_set("maxmemory", 1)
        with pytest.raises(ResponseError):
            transport.register_with_event_loop(transport, hub)
        del connection, transport
        gc.collect()
        assert channel() is None
    finally:
        valkey.client.config_set("maxmemory", 0)  # the session's server
        hub.close()
