"""One trace from the caller's request to the receiver of the webhook, by a collector inside this test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from shared import tracing
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import Receiver
from tools.uploads import tiff
from tools.valkey import Valkey, wait_until

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []  # (service, span)
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
                for one in request.resource_spans:
                    service = next(a.value.string_value for a in one.resource.attributes if a.key == "service.name")
                    collector.spans += [(service, span) for scope in one.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing on the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def named(self) -> dict[tuple[str, str], Any]:
        """(service, name) -> the latest such span of the trace."""
        return {(service, span.name): span for service, span in self.spans if span.trace_id.hex() == TRACE}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def test_one_trace_leads_from_the_request_to_the_receiver(tmp_path: Path, valkey: Valkey, collector: Collector) -> None:
    otel: dict[str, Any] = {"otel_exporter_otlp_endpoint": collector.url, "otel_bsp_schedule_delay": 50}
    local: dict[str, Any] = {"webhook_allow": "127.0.0.1", "webhook_allow_http": "true", "webhook_ports": ""}
    receiver = Receiver()
    gateway = Gateway(tmp_path, valkey.url, **otel, **local)
    processes: list[Process] = [
        gateway, Worker(tmp_path, valkey.url, **otel), WebhookSenderProcess(tmp_path, valkey.url, **otel),
    ]  # fmt: skip
    try:
        for process in processes:
            process.wait_ready()  # type: ignore[attr-defined]
        answer = httpx.post(
            f"{gateway.url}/api/v1/jobs", files={"file": ("a.tiff", tiff([1, 2]), "image/tiff")},
            data={"webhook_url": f"{receiver.url}/hook"}, timeout=60,
            headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "prefer": "wait=40"},
        )  # fmt: skip
        assert answer.json()["status"] == "succeeded"
        wait_until(lambda: ("ocr-webhooks", "webhook.attempt") in collector.named(), 30, "the last span")
        wait_until(lambda: ("ocr-gateway", "POST /api/v1/jobs") in collector.named(), 30, "the request's span")
        spans = collector.named()
        request = spans["ocr-gateway", "POST /api/v1/jobs"]
        assert request.parent_span_id.hex() == CALLER
        job = spans["ocr-worker", "job"]
        assert job.parent_span_id == request.span_id
        page = spans["ocr-worker", "page"]
        assert page.parent_span_id == job.span_id
        for name in ("render", "engine", "store.page_end"):
            assert spans["ocr-worker", name].trace_id == job.trace_id, name
        assert spans["ocr-webhooks", "webhook.attempt"].parent_span_id == request.span_id
        (call,) = receiver.calls
        assert call.headers["traceparent"].split("-")[1] == TRACE
    finally:
        for process in processes:
            process.kill()
        receiver.close()


def test_off_a_span_is_nothing_and_no_trace_is_given_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing.configure("test")
    with tracing.span("job", f"00-{TRACE}-{CALLER}-01", job="1") as span:
        assert span is None
        assert tracing.traceparent() is None
