"""A receiver of webhooks that answers what a test says and remembers what came; its verifier is not the sender's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ReceivedCall:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)  # type: ignore[no-any-return]


def verifies(call: ReceivedCall, secret: str, tolerance: float = 300) -> bool:
    """Standard Webhooks 1.0 by its specification, with nothing but the standard library."""
    timestamp = call.headers["webhook-timestamp"]
    if abs(time.time() - int(timestamp)) > tolerance:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{call.id}.{timestamp}.".encode() + call.body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected, given) for given in call.headers["webhook-signature"].split(" "))


Answer = tuple[int, dict[str, str]]
OK: Answer = (204, {})
OPENSSL = shutil.which("openssl")


class Receiver:
    """``answer`` is asked for every call, with its number among those to the same path, from 1."""

    def __init__(
        self,
        answer: Callable[[ReceivedCall, int], Answer] = lambda _call, _number: OK,
        certificate: dict[str, Path] | None = None,
    ) -> None:
        self.calls: list[ReceivedCall] = []
        self.answer = answer
        self._lock = threading.Lock()
        receiver = self

        class ReceiverHandler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                receiver._take(self)

            def do_GET(self) -> None:  # a sender that follows a redirect would come with GET
                receiver._take(self)

            def log_message(self, *_: Any) -> None:
                """Nothing on the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), ReceiverHandler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate["certfile"], certificate["keyfile"])
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = ReceivedCall(handler.path, headers, body, time.monotonic())
        with self._lock:
            self.calls.append(call)
            number = sum(other.path == call.path for other in self.calls)
        status, more = self.answer(call, number)
        try:
            handler.send_response(status)
            for name, value in more.items():
                handler.send_header(name, value)
            handler.end_headers()
        except OSError:
            return  # the sender did not wait

    def at(self, path: str) -> list[ReceivedCall]:
        return [call for call in list(self.calls) if call.path == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def certificate(folder: Path, name: str) -> dict[str, Path]:
    """A certificate that vouches for itself, for one name, by the openssl command."""
    assert OPENSSL is not None
    made = {"certfile": folder / f"{name}.pem", "keyfile": folder / f"{name}.key"}
    subprocess.run(
        [
            OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{name}", "-keyout", made["keyfile"],
            "-out", made["certfile"],
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return made
