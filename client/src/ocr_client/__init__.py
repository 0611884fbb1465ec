"""A Python client and a command line for the OCR service, over HTTP only.

>>> from ocr_client import Client
>>> document = Client("http://127.0.0.1:8000").read("scan.pdf")
>>> print(document.markdown)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr_client.async_client import AsyncClient
    from ocr_client.client import Client
    from ocr_client.document import Block, Document, FileOutcome, Page
    from ocr_client.errors import ClientError, JobEnded, Problem, TimedOut, Unreachable
    from ocr_client.models import Batch, Event, Hit, Job
    from ocr_client.webhooks import BadSignature, verify_webhook

__all__ = [
    "AsyncClient",
    "BadSignature",
    "Batch",
    "Block",
    "Client",
    "ClientError",
    "Document",
    "Event",
    "FileOutcome",
    "Hit",
    "Job",
    "JobEnded",
    "Page",
    "Problem",
    "TimedOut",
    "Unreachable",
    "verify_webhook",
]

HOMES = {
    "AsyncClient": "async_client",
    "Client": "client",
    **dict.fromkeys(("Block", "Document", "FileOutcome", "Page"), "document"),
    **dict.fromkeys(("ClientError", "JobEnded", "Problem", "TimedOut", "Unreachable"), "errors"),
    **dict.fromkeys(("Batch", "Event", "Hit", "Job"), "models"),
    **dict.fromkeys(("BadSignature", "verify_webhook"), "webhooks"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a command that prints its help needs neither httpx nor asyncio."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ocr_client.{HOMES[name]}"), name)
