"""Whether a worker's Celery takes messages of its queue."""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready


class Intake:
    """Celery's consumer, which can be told to leave its queue to other workers. For the consumer's thread."""

    def __init__(self) -> None:
        self.wanted = True
        self._consumer: Any = None
        worker_ready.connect(self._ready)

    def _ready(self, sender: Any, **_: Any) -> None:
        """The one consumer of this process; it connects to the broker anew, but it stays."""
        self._consumer = sender

    def set(self, wanted: bool) -> None:
        """Does nothing where it is so already, or before Celery consumes at all: then it has to be called again.

        What Celery has selected holds for later connections, too. A message that arrives after the queue was given up
        goes back to it (kombu, ``_reject_inbound_message``).
        """
        consumer = self._consumer
        if consumer is None or consumer.task_consumer is None:
            return
        self.wanted = wanted
        queue = consumer.app.conf.task_default_queue
        if wanted:
            consumer.add_task_queue(queue)
        elif consumer.task_consumer.consuming_from(queue):
            consumer.cancel_task_queue(queue)
