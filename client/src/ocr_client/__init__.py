"""A Python client and a command line for the OCR service, over HTTP only.

>>> from ocr_client import Client
>>> document = Client("http://127.0.0.1:8000").read("scan.pdf")
>>> print(document.markdown)
"""

from ocr_client.async_client import AsyncClient
from ocr_client.client import Client
from ocr_client.document import Block, Document, Outcome, Page
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
    "Hit",
    "Job",
    "JobEnded",
    "Outcome",
    "Page",
    "Problem",
    "TimedOut",
    "Unreachable",
    "verify_webhook",
]
