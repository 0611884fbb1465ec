"""Traces by OpenTelemetry, off unless its own variables name a collector (``OTEL_EXPORTER_OTLP_ENDPOINT``).

One trace leads from the request over the job's record (``traceparent``, W3C) to the worker, the sender and the
receiver.
Off, a span is a null context: nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
HEADER: Final = "traceparent"
SCOPE: Final = "ocr"

_OFF: Final[AbstractContextManager[Any]] = nullcontext()
_tracer: Any = None  # of this process, once it is configured


def wanted() -> bool:
    """Whether the environment names a collector."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in ENDPOINTS)


def configure(service: str) -> None:
    """Send this process's spans to the collector, if one is wanted. ``OTEL_SERVICE_NAME`` replaces ``service``."""
    global _tracer  # the SDK's own provider is one per process, too
    if not wanted() or _tracer is not None:
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from shared.lean_spans import LeanExporter, LeanProvider

    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or service})
    provider = LeanProvider(resource, BatchSpanProcessor(LeanExporter(resource)))
    trace.set_tracer_provider(provider)
    _tracer = provider.get_tracer(SCOPE)


def span(name: str, parent: str | None = None, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A span of what is done inside; below ``parent`` (a traceparent), or below the span that is open here."""
    if _tracer is None:
        return _OFF
    opened: AbstractContextManager[Any] = _tracer.open(
        name, parent, {f"{SCOPE}.{key}": value for key, value in attributes.items()}
    )
    return opened


def traceparent() -> str | None:
    """Of the span that is open here; None where nothing is traced."""
    return None if _tracer is None else _tracer.traceparent()
