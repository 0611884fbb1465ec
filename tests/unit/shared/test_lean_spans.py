"""Lean spans against the SDK's own: the same calls, and what a collector gets is the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.testclient import TestClient

from shared import tracing
from shared.lean_spans import LeanExporter, LeanProvider, LeanTracer, below

RESOURCE = Resource.create({"service.name": "test"})
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"
Work = Callable[[TracerProvider], object]


class CountingIds(IdGenerator):
    """1, 2, 3, ..."""

    def __init__(self) -> None:
        self._spans, self._traces = itertools.count(1), itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._spans)

    def generate_trace_id(self) -> int:
        return next(self._traces)

    def is_trace_id_random(self) -> bool:
        return True


class EndedSpans(BatchSpanProcessor):
    """Keeps them."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        """There is no thread to be ended."""


def by_sdk(work: Work) -> list[Any]:
    """The spans of ``work`` as the SDK encodes them."""
    kept, provider = InMemorySpanExporter(), TracerProvider(resource=RESOURCE, id_generator=CountingIds())
    provider.add_span_processor(SimpleSpanProcessor(kept))
    work(provider)
    return plain(encode_spans(kept.get_finished_spans()))


def by_us(work: Work) -> list[Any]:
    processor, exporter = EndedSpans(), LeanExporter(RESOURCE)
    work(LeanProvider(RESOURCE, processor, CountingIds()))
    return plain(exporter.encoded(processor.spans))


def plain(request: Any) -> list[Any]:
    """(resource, scope, span) without moments, the order of attributes and the lines of a traceback, which differ."""
    found = []
    for part in request.resource_spans:
        for of_scope in part.scope_spans:
            for span in of_scope.spans:
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
                span.start_time_unix_nano = span.end_time_unix_nano = 0
                span.attributes.sort(key=lambda attribute: attribute.key)
                for event in span.events:
                    event.time_unix_nano = 0
                    for attribute in event.attributes:
                        if attribute.key == "exception.stacktrace":
                            attribute.value.string_value = attribute.value.string_value.splitlines()[-1][:20]
                found.append((str(part.resource), str(of_scope.scope) + of_scope.schema_url, str(span)))
    return sorted(found, key=lambda one: one[2])


def nested(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("ocr")
    with tracer.start_as_current_span("a", attributes={"text": "of several words", "count": 3, "is": True}) as span:
        with tracer.start_as_current_span("b", kind=SpanKind.SERVER):
            tracer.start_span("c", context=below(f"{PARENT}1")).end()
        span.update_name("renamed")
        span.set_attribute("share", 0.5)
        span.set_attributes({"more": "of several words"})
        span.set_status(StatusCode.OK)
        span.set_status(Status(StatusCode.ERROR, "too late"))
        span.set_status(StatusCode.UNSET)
        span.add_event("seen", {"at": 1})
    span.set_attribute("late", 1)
    span.update_name("late")
    span.end()


def failing(provider: TracerProvider) -> None:
    tracer = provider.get_tracer("ocr")
    for error in (ValueError("no"), asyncio.CancelledError()):
        with pytest.raises(type(error)), tracer.start_as_current_span("a"):
            raise error


def requests(provider: TracerProvider) -> None:
    app = FastAPI(telemetry={"tracer_provider": provider, "metrics": False, "logs": False, "operation_spans": False})

    @app.get("/jobs/{name}")
    async def job(name: str) -> str:
        if name == "broken":
            raise RuntimeError("broken")
        return name

    client = TestClient(app, raise_server_exceptions=False)
    for path in ("/jobs/1?page=2&sig=secret", "/jobs/broken", "/nothing"):
        client.get(path, headers={"traceparent": f"{PARENT}1", "tracestate": "vendor=value"})
    client.request("BREW", "/jobs/1", headers={"traceparent": f"{PARENT}0"})


@pytest.mark.parametrize("work", [nested, failing, requests])
def test_a_collector_gets_what_the_sdk_would_have_sent(work: Work) -> None:
    ours = by_us(work)
    assert ours == by_sdk(work)
    assert ours


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2"), ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1"),
    ],
)  # fmt: skip
def test_the_limits_of_the_environment_hold(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    unlimited = by_us(nested) + by_us(failing)
    monkeypatch.setenv(name, value)
    for work in (nested, failing):
        assert by_us(work) == by_sdk(work)
    assert by_us(nested) + by_us(failing) != unlimited


def flags(provider: TracerProvider) -> list[int]:
    """Of spans without a parent, below a sampled one, below one that is not, and of a span below that."""
    tracer, found = provider.get_tracer("ocr"), []
    for context in (None, below(f"{PARENT}1"), below(f"{PARENT}0")):
        span = tracer.start_span("a", context)
        child = tracer.start_span("b", trace.set_span_in_context(span))
        found += [int(one.get_span_context().trace_flags) + 10 * one.is_recording() for one in (span, child)]
    return found


@pytest.mark.parametrize("argument", ["0", "1"])
@pytest.mark.parametrize(
    "sampler",
    [
        "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
        "parentbased_traceidratio",
    ],
)  # fmt: skip
def test_every_sampler_of_the_environment_decides_as_in_the_sdk(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    found: list[list[int]] = []
    by_us(lambda provider: found.append(flags(provider)))
    by_sdk(lambda provider: found.append(flags(provider)))
    assert found[0] == found[1]


def test_a_span_of_ours_is_the_current_one_inside_and_fails_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = EndedSpans()
    tracer = LeanProvider(RESOURCE, processor).get_tracer("ocr")
    assert isinstance(tracer, LeanTracer)
    monkeypatch.setattr(tracing, "_tracer", tracer)
    with pytest.raises(ValueError), tracing.span("job", f"{PARENT}1", job="1"):
        inside = tracing.traceparent()
        with tracing.span("page", page=2):
            pass
        raise ValueError("no")
    assert tracing.traceparent() is None
    page, job = processor.spans
    assert page.parent == job.context
    assert inside == f"{PARENT[:36]}{job.context.span_id:016x}-01"
    assert (page.attributes, job.attributes) == ({"ocr.page": 2}, {"ocr.job": "1"})
    assert (job.status.description, [event[0] for event in job.events]) == ("ValueError: no", ["exception"])
    assert page.status is None


def test_what_is_no_traceparent_is_no_parent() -> None:
    for text in ("", "nonsense", PARENT, f"00-{'0' * 32}-{'0' * 16}-01", f"00-{'g' * 32}-00f067aa0ba902b7-01"):
        assert not trace.get_current_span(below(text)).get_span_context().is_valid


def test_a_span_that_cannot_be_encoded_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    def work(provider: TracerProvider) -> None:
        tracer = provider.get_tracer("ocr")
        for value in (1, 2**70, "\ud800", 2):
            tracer.start_span("a", attributes={"value": value}).end()

    assert len(by_us(work)) == 2
    assert caplog.text.count("cannot be encoded") == 2
