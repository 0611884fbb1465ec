"""How our Celery applications talk to Redis: the same for all, and bounded in every wait."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery

from shared.settings import SharedSettings
from worker.broker import celery_fix

# The same for every application on one Redis: the shortest visibility_timeout of all would win.
TRANSPORT: Final = {
    "visibility_timeout": 3600,  # a net only; leases in the records find dead workers within seconds
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "health_check_interval": 5,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "priority_steps": [0, 3, 6],
}


def application(name: str, settings: SharedSettings, queue: str, in_flight: int, **more: Any) -> Celery:
    """JSON only, late acknowledgement, no result backend: the records in Redis are the truth."""
    celery_fix.install()
    app = Celery(name, broker=settings.redis_url.get_secret_value())
    app.conf.update(
        task_default_queue=queue,
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_track_started=True,
        worker_prefetch_multiplier=in_flight,
        worker_send_task_events=True,
        worker_redirect_stdouts=False,
        worker_hijack_root_logger=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # OOM, BUSY, READONLY and the like pass; to load an engine anew takes minutes
        broker_transport_options=TRANSPORT,
        **more,
    )
    return app
