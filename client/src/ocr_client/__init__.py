"""A Python client and a command line for the OCR service, over HTTP only.

>>> from ocr_client import Client
>>> markdown = Client("http://127.0.0.1:8000").read("scan.pdf")
"""

from ocr_client.client import Client
from ocr_client.errors import ClientError, JobEnded, Problem, TimedOut, Unreachable
from ocr_client.models import Batch, Event, Job

__all__ = ["Batch", "Client", "ClientError", "Event", "Job", "JobEnded", "Problem", "TimedOut", "Unreachable"]
