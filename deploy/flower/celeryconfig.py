"""Celery's settings for Flower, found by their name. It hands out no messages, so it must not put any back either:
its own keys for unacknowledged ones keep it away from the workers'."""

from kombu import Queue

accept_content = ["json"]
result_accept_content = ["json"]
task_serializer = "json"
# What the broker page lists before a worker has answered; the messages of every priority are counted together.
task_default_queue = "ocr"
task_queues = [Queue("ocr"), Queue("webhooks")]
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
broker_transport_options = {
    "unacked_key": "flower_unacked",
    "unacked_index_key": "flower_unacked_index",
    "unacked_mutex_key": "flower_unacked_mutex",
    "health_check_interval": 5,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "priority_steps": [0, 3, 6],
}
