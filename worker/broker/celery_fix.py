"""Keep celery 5.7.0 alive when Redis goes away. Import before the worker starts.

``Consumer.on_connection_error_after_connected`` (celery/worker/consumer/consumer.py) calls ``connection.collect()``,
which sets ``transport.client = None``, and then ``connection.close()``. Where a BRPOP was outstanding and a late-ack
message unacknowledged, closing runs ``QoS.restore_unacked_once()`` without a transport client; ``Channel._connparams``
then raises AttributeError, which is no connection error, and the worker exits 1. Remembering the parameters lets a
closed channel still reach Redis: the restore fails as a ConnectionError, which Celery handles, and acknowledgements of
jobs that outlive the connection work. Fixed versions make this a no-op; the pin says when to look again.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as transport

_connparams = transport.Channel._connparams


def _remembered(self: Any, asynchronous: bool = False) -> dict[str, Any]:
    saved: dict[bool, dict[str, Any]] = self.__dict__.setdefault("_remembered_connparams", {})
    if self.connection is not None and self.connection.client is not None:
        saved[asynchronous] = dict(_connparams(self, asynchronous))
    elif asynchronous not in saved:
        raise transport.get_redis_ConnectionError()("the channel is closed")
    return dict(saved[asynchronous])


def install() -> None:
    transport.Channel._connparams = _remembered
