"""Spans that cost a few microseconds: OpenTelemetry's API and SDK, except for its span, its tracer and its encoder.

A span of the SDK takes 18 µs to be opened and closed (locks, bounded copies, two generators) and 12 µs to be encoded
(its resource is hashed for each span); one of these takes a third and a sixth of that. What the environment says is
still read by the SDK: resource, sampler, limits, batches, and where and how they are sent. Attributes are strings,
numbers and booleans; links are not kept.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time_ns
from types import TracebackType
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.tracing import HEADER

Attributes = Mapping[str, Any]

logger = logging.getLogger(__name__)

FLAGS: Final = tuple(TraceFlags(number) for number in range(4))  # sampled, random trace id
SAMPLED: Final = int(TraceFlags.SAMPLED)
RANDOM: Final = int(TraceFlags.RANDOM_TRACE_ID)
KNOWS_REMOTE: Final = 0x100  # OTLP's flags of a span: whether the next one says something,
IS_REMOTE: Final = 0x200  # and whether its parent is of another process
FIELDS: Final = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}
PROPAGATOR: Final = TraceContextTextMapPropagator()
NO_ATTRIBUTES: Final[Attributes] = {}


class LeanSpan(trace.Span):
    """For one thread at a time. Ended, it is handed to ``ended_by`` and not changed any more."""

    def __init__(
        self, name: str, context: SpanContext, parent: SpanContext | None, kind: SpanKind,
        attributes: Attributes | None, scope: InstrumentationScope, ended_by: BatchSpanProcessor,
        start_time: int | None,
    ) -> None:  # fmt: skip
        self.name, self.context, self.parent, self.kind, self.scope = name, context, parent, kind, scope
        self.attributes = dict(attributes) if attributes else {}
        self.events: list[tuple[str, int, Attributes]] = []
        self.status: Status | None = None
        self._ended_by = ended_by
        self.start_time, self.end_time = start_time or time_ns(), 0

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return not self.end_time

    def set_attribute(self, key: str, value: Any) -> None:
        if not self.end_time:
            self.attributes[key] = value

    def set_attributes(self, attributes: Attributes) -> None:
        if not self.end_time:
            self.attributes.update(attributes)

    def update_name(self, name: str) -> None:
        if not self.end_time:
            self.name = name

    def add_event(self, name: str, attributes: Attributes | None = None, timestamp: int | None = None) -> None:
        if not self.end_time:
            self.events.append((name, timestamp or time_ns(), attributes or NO_ATTRIBUTES))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """As OpenTelemetry has it: ``OK`` is the last word, and nothing is changed to ``UNSET``."""
        status = status if isinstance(status, Status) else Status(status, description)
        if not self.end_time and not status.is_unset and (self.status is None or not self.status.is_ok):
            self.status = status

    def record_exception(
        self, exception: BaseException, attributes: Attributes | None = None, timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:  # fmt: skip
        """An event that has the names of the semantic conventions."""
        kind = type(exception)
        prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        described = {
            "exception.type": prefix + kind.__qualname__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", described | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        if not self.end_time:
            self.end_time = end_time or time_ns()
            self._ended_by.on_end(self)  # type: ignore[arg-type]  # of a span it reads the context alone


class CurrentSpan:
    """``with``: the span is the current one inside; it ends with the block, and an exception is its failure."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def __enter__(self) -> trace.Span:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        contexts.detach(self._token)
        if isinstance(error, Exception):
            self._span.record_exception(error)
            self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        self._span.end()


class LeanTracer(trace.Tracer):
    """Opens spans of one instrumentation scope."""

    def __init__(self, provider: TracerProvider, processor: BatchSpanProcessor, scope: InstrumentationScope) -> None:
        self._sampler, self._ids = provider.sampler, provider.id_generator
        self._processor, self._scope = processor, scope
        self._follows_parent = isinstance(self._sampler, ParentBased)  # those that the environment can name all do

    def start_span(
        self, name: str, context: Context | None = None, kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None, links: Sequence[trace.Link] | None = None, start_time: int | None = None,
        record_exception: bool = True, set_status_on_exception: bool = True,
    ) -> trace.Span:  # fmt: skip
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is None or not parent.is_valid:
            parent, trace_id = None, self._ids.generate_trace_id()
            random_id = RANDOM if self._ids.is_trace_id_random() else 0
        else:
            trace_id, random_id = parent.trace_id, parent.trace_flags & RANDOM
        if parent is not None and self._follows_parent:
            sampled: int = parent.trace_flags & SAMPLED
            state: TraceState | None = parent.trace_state
        else:
            result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links)
            sampled, state = SAMPLED * (result.decision is Decision.RECORD_AND_SAMPLE), result.trace_state
        its = SpanContext(trace_id, self._ids.generate_span_id(), False, FLAGS[random_id | sampled], state)
        if not sampled:
            return NonRecordingSpan(its)
        return LeanSpan(name, its, parent, kind, attributes, self._scope, self._processor, start_time)

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # for libraries; ours call ``open``
        self, name: str, context: Context | None = None, kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None, links: Sequence[trace.Link] | None = None, start_time: int | None = None,
        record_exception: bool = True, set_status_on_exception: bool = True, end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:  # fmt: skip
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span

    def open(self, name: str, traceparent: str | None, attributes: Attributes) -> CurrentSpan:
        """A span below ``traceparent``, or below the current span."""
        context = None if traceparent is None else below(traceparent)
        return CurrentSpan(self.start_span(name, context, attributes=attributes))

    def traceparent(self) -> str | None:
        """Of the current span; None where there is none."""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get(HEADER)


class LeanProvider(TracerProvider):
    """The SDK's provider, with tracers whose spans go to ``processor``, which ends with the process."""

    def __init__(self, resource: Resource, processor: BatchSpanProcessor, ids: IdGenerator | None = None) -> None:
        super().__init__(resource=resource, id_generator=ids)
        self._processor = processor
        self.add_span_processor(processor)

    def get_tracer(
        self, instrumenting_module_name: str, instrumenting_library_version: str | None = None,
        schema_url: str | None = None, attributes: Any = None,
    ) -> trace.Tracer:  # fmt: skip
        version = instrumenting_library_version or ""
        scope = InstrumentationScope(instrumenting_module_name, version, schema_url, attributes)
        return LeanTracer(self, self._processor, scope)


class LeanExporter(OTLPSpanExporter):
    """Sends as its base does; encodes lean spans straight into OTLP's messages."""

    def __init__(self, resource: Resource, limits: SpanLimits | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._resource, self._limits = resource, limits or SpanLimits()
        self._frames: dict[InstrumentationScope, ResourceSpans] = {}

    def export(self, spans: Sequence[LeanSpan]) -> SpanExportResult:  # type: ignore[override]
        sent = self._client.export(self.encoded(spans).SerializeToString())
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    def encoded(self, spans: Sequence[LeanSpan]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        found: dict[InstrumentationScope, Any] = {}
        for span in spans:
            if (into := found.get(span.scope)) is None:
                part = request.resource_spans.add()
                part.CopyFrom(self._frame(span.scope))
                into = found[span.scope] = part.scope_spans[0].spans
            try:
                self._encode(into, span)
            except (ValueError, TypeError) as error:
                logger.error("a span %s cannot be encoded: %s", span.name, error)  # noqa: TRY400
                del into[-1]
        return request

    def _frame(self, scope: InstrumentationScope) -> ResourceSpans:
        """All that one batch's spans of one scope have in common, as the SDK encodes it."""
        if scope not in self._frames:
            empty = ReadableSpan("", trace.INVALID_SPAN_CONTEXT, resource=self._resource, instrumentation_scope=scope)
            (frame,) = encode_spans([empty]).resource_spans
            del frame.scope_spans[0].spans[:]
            self._frames[scope] = frame
        return self._frames[scope]

    def _encode(self, into: Any, span: LeanSpan) -> None:
        context, parent = span.context, span.parent
        flags = KNOWS_REMOTE | IS_REMOTE if parent is not None and parent.is_remote else KNOWS_REMOTE
        made = into.add()
        made.trace_id, made.span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
        if parent is not None:
            made.parent_span_id = parent.span_id.to_bytes(8, "big")
        if context.trace_state:
            made.trace_state = context.trace_state.to_header()
        made.name, made.kind, made.flags = span.name, span.kind.value + 1, flags
        made.start_time_unix_nano, made.end_time_unix_nano = span.start_time, span.end_time
        limits = self._limits
        attributes = bounded(span.attributes, limits.max_span_attributes, limits.max_span_attribute_length)
        made.dropped_attributes_count = put(made.attributes, attributes)
        made.status.SetInParent()
        if span.status is not None:
            made.status.code, made.status.message = span.status.status_code.value, span.status.description or ""
        if span.events:
            self._encode_events(made, span)

    def _encode_events(self, made: Any, span: LeanSpan) -> None:
        limits = self._limits
        dropped = 0 if limits.max_events is None else max(0, len(span.events) - limits.max_events)
        made.dropped_events_count = dropped
        for name, time, attributes in span.events[dropped:]:
            event = made.events.add(name=name, time_unix_nano=time)
            its = bounded(attributes, limits.max_event_attributes, limits.max_attribute_length)
            event.dropped_attributes_count = put(event.attributes, its)


def bounded(attributes: Attributes, count: int | None, length: int | None) -> Attributes:
    """At most ``count`` attributes, none longer than ``length`` characters; the attributes themselves where all fit."""
    if length is None and (count is None or len(attributes) <= count):
        return attributes
    return BoundedAttributes(count, attributes, max_value_len=length)


def put(into: Any, attributes: Attributes) -> int:
    """Encode attributes; how many were dropped of them."""
    for key, value in attributes.items():
        field = FIELDS.get(type(value))
        setattr(into.add(key=key).value, field or "string_value", value if field else str(value))
    return attributes.dropped if isinstance(attributes, BoundedAttributes) else 0


def below(traceparent: str) -> Context:
    """A context whose current span is that of another process; an empty one where the text is no traceparent."""
    return PROPAGATOR.extract({HEADER: traceparent})
