"""Keep celery 5.7.0 and kombu 5.7 well when Redis goes away. Install before the worker starts.

``Consumer.on_connection_error_after_connected`` (celery/worker/consumer/consumer.py) calls ``connection.collect()``,
which sets ``transport.client = None``, and then ``connection.close()``. Where a BRPOP was outstanding and a late-ack
message unacknowledged, closing runs ``QoS.restore_unacked_once()`` without a transport client; ``Channel._connparams``
then raises AttributeError, which is no connection error, and the worker exits 1. Remembering the parameters lets a
closed channel still reach Redis: the restore fails as a ConnectionError, which Celery handles, and acknowledgements of
jobs that outlive the connection work. Fixed versions make this a no-op; the pin says when to look again.

``Transport.register_with_event_loop`` (kombu/transport/redis.py) cancels the timers of a connection that is registered
again. But Celery reconnects with a new connection, so those of the one before stay in the loop, with its callback for
every tick: 13 KiB and a call in each turn of the loop for every reconnection. The one before is taken out.

It also looks for messages to give back. Where the store refuses that, ``Consumer.connect`` raises and forgets the
connection, but not its channel, which its finalizer holds for ever: 50 KiB for every try. It is closed.
"""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from kombu.transport import redis as transport

TIMERS: Final = (
    "_restore_messages_tref", "_subclient_health_tref", "_brpop_health_tref", "_reauth_tref", "_binding_expiry_tref"
)  # fmt: skip

_connparams = transport.Channel._connparams
_register = transport.Transport.register_with_event_loop
_registered: WeakKeyDictionary[Any, tuple[Any, set[Any]]] = WeakKeyDictionary()


def _remembered(self: Any, asynchronous: bool = False) -> dict[str, Any]:
    saved: dict[bool, dict[str, Any]] = self.__dict__.setdefault("_remembered_connparams", {})
    if self.connection is not None and self.connection.client is not None:
        saved[asynchronous] = dict(_connparams(self, asynchronous))
    elif asynchronous not in saved:
        raise transport.get_redis_ConnectionError()("the channel is closed")
    return dict(saved[asynchronous])


def _register_alone(self: Any, connection: Any, loop: Any) -> None:
    poller, callbacks = _registered.pop(loop, (None, set()))
    loop.on_tick -= callbacks
    if poller is not None and poller is not self.cycle:
        for name in TIMERS:
            getattr(poller, name).cancel()
    before = set(loop.on_tick)
    try:
        _register(self, connection, loop)
    except Exception:
        self.close_connection(connection)
        raise
    _registered[loop] = (self.cycle, loop.on_tick - before)


def install() -> None:
    transport.Channel._connparams = _remembered
    transport.Transport.register_with_event_loop = _register_alone
