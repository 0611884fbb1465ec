"""``python -m gateway``: serve until INT or TERM, then end the streams and exit."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from tempfile import TemporaryDirectory

import uvicorn
from pydantic import ValidationError
from uvicorn.supervisors import Multiprocess

from gateway.app import ProcessEnd
from gateway.auth.authenticator import refusal
from gateway.connections import BoundedProtocol
from gateway.metrics import SHARED_FOLDER
from gateway.settings import GatewaySettings
from gateway.settings_check import faults
from shared import log
from shared.commandline import no_arguments

EXIT_LOOP_DIED = 71  # as a worker's
GRACE_SECONDS = 8  # for responses in progress; within the ten seconds that most supervisors allow


def serve(settings: GatewaySettings) -> None:
    log.configure(settings)
    config = uvicorn.Config(
        "gateway.app:from_env",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level=settings.log_level,
        log_config=None,
        access_log=False,  # it shows the query: the middleware logs each request
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        http=BoundedProtocol,
        ws="none",
    )
    if settings.workers > 1:
        # The processes count their requests together, so that each answers for all.
        with TemporaryDirectory(prefix="ocr-metrics-") as folder:
            os.environ[SHARED_FOLDER] = folder
            Multiprocess(config, sockets=[config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    # uvicorn raises the signal that ended it once more: an orderly end shall not look like death by a signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_LOOP_DIED if ProcessEnd.loop_died else 0))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(1)


def read_settings() -> GatewaySettings:
    """The settings, or one line on what is wrong with them and exit code 2."""
    try:
        settings = GatewaySettings()
        wrong = "; ".join(faults(settings))
        if not wrong:
            return settings
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
    print(f"gateway: {wrong}", file=sys.stderr)
    sys.exit(2)


def refuse_open_gateway(settings: GatewaySettings) -> GatewaySettings:
    """The settings, or exit code 2 where anyone who can reach the gateway could use it."""
    if (reason := refusal(settings)) is not None:
        print(f"gateway: cannot start: {reason}", file=sys.stderr)
        sys.exit(2)
    return settings


if __name__ == "__main__":
    no_arguments("gateway", __doc__)
    serve(refuse_open_gateway(read_settings()))
