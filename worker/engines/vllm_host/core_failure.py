"""Why vLLM's own process failed: its parent is told only that it did, the reason goes to the log."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from worker.engines.vllm_host.config import SOCKETS

CORE = "vllm.v1.engine.core"
"""Logs the exception that ends vLLM's process."""

LONGEST = 500


class Keep(logging.Handler):
    """Leaves the last exception that was logged in the folder of the engine's sockets."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return
        try:
            _file().write_text(f"{type(error).__name__}: {one_line(error)}", encoding="utf-8")
        except OSError:  # the folder goes with the engine: what failed must not be hidden by that
            self.handleError(record)


def keep() -> None:
    """In vLLM's process, and in the one it is forked from."""
    log = logging.getLogger(CORE)
    if not any(isinstance(handler, Keep) for handler in log.handlers):
        log.addHandler(Keep())


def kept() -> str:
    """Empty if none was logged: a process that is killed says nothing."""
    try:
        return _file().read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__


def _file() -> Path:
    return Path(os.environ[SOCKETS], "cause")
