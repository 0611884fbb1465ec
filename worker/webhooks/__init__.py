"""The senders of webhooks: a Celery worker of their own, with no engine in it. ``python -m worker.webhooks``."""
