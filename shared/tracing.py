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
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _tracer = provider.get_tracer(SCOPE)


def span(name: str, parent: str | None = None, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A span of what is done inside; below ``parent`` (a traceparent), or below the span that is open here."""
    if _tracer is None:
        return _OFF
    context = None
    if parent is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({HEADER: parent})
    named = {f"{SCOPE}.{key}": value for key, value in attributes.items()}
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(name, context=context, attributes=named)
    return opened


def traceparent() -> str | None:
    """Of the span that is open here; None where nothing is traced."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)
