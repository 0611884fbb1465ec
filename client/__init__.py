"""A Python client and a command line for the OCR service, over HTTP only.

>>> from client import Client
>>> markdown = Client("http://127.0.0.1:8000").read("scan.pdf")
"""

from client.api import Client
from client.errors import ClientError, JobEnded, Problem, TimedOut, Unreachable
from client.models import Batch, Event, Job

__all__ = ["Batch", "Client", "ClientError", "Event", "Job", "JobEnded", "Problem", "TimedOut", "Unreachable"]
