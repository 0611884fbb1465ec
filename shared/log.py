"""One structured log for every process: what happened, when, and to which request, job, page, key and worker.

``event`` writes a line that has a name (``job.started``) and fields; every other line, of ours or of a library, has
the event ``log`` and its text as ``message``. Fields that hold for all that a task does are bound to it once
(``scope``, ``bind``). No line has a secret, a document's text or, unless ``log_filenames``, a file's
name: secrets of known form, and those of the settings, are replaced wherever they appear.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr
from pythonjsonlogger.json import JsonEncoder

from shared.settings import SharedSettings

LIBRARY_LINE: Final = "log"
HIDDEN: Final = "***"
SHORTEST_SECRET: Final = 8  # characters; a shorter value of a setting would be replaced in the middle of words
SECRETS: Final = (
    ("ocr_", re.compile(r"\b(ocr_[0-9a-f]{12}_)[A-Za-z0-9_-]+")),  # an API key
    ("whsec_", re.compile(r"\b(whsec_)[A-Za-z0-9+/=_-]+")),
    ("token=", re.compile(r"([?&](?:token|access_token)=)[^&\s\"'<>\\]*")),
    ("api_key=", re.compile(r"([?&]api_key=)[^&\s\"'<>\\]*")),
    ("://", re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@\"']*:)[^\s@/\"']+(?=@)")),  # redis://user:password@
)
"""What every secret of this form contains, which is found much faster, and the form; its first group may be seen."""
QUIET: Final = ("celery.worker.strategy", "celery.app.trace")  # a line or two for every task: our events say more
BARE: Final = re.compile(r"[^\s\"=]+")

_process: dict[str, object] = {}  # fields of every line of this process
_context: ContextVar[Mapping[str, object]] = ContextVar("log_context")


def name_process(**fields: object) -> None:
    """Every line of this process has these fields."""
    _process.update(_known(fields))


@contextmanager
def scope(**fields: object) -> Iterator[None]:
    """Every line inside has these fields, and those bound inside. ``None`` stands for no field."""
    token = _context.set({**_context.get({}), **_known(fields)})
    try:
        yield
    finally:
        _context.reset(token)


def bind(**fields: object) -> None:
    """From here to the end of the enclosing ``scope`` (or task) every line has these fields."""
    _context.set({**_context.get({}), **_known(fields)})


def bound(name: str) -> Any:
    """What is bound under this name here, or None."""
    return _context.get({}).get(name)


BLANK: Final = vars(logging.LogRecord("", logging.NOTSET, "", 0, "", (), None))


class LogEvent(logging.LogRecord):
    """The record of an event. Place, thread and process, which no line of ours names, are not looked up."""

    def __init__(self, name: str, level: int, event: str, fields: Mapping[str, object]) -> None:
        vars(self).update(BLANK)
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.msg = self.event = event
        self.fields, self.created = fields, time.time()


def event(logger: logging.Logger, name: str, level: int = logging.INFO, **fields: object) -> None:
    """Write one line about what happened; ``name`` is ``thing.what`` and part of the documented log."""
    if logger.isEnabledFor(level):
        logger.handle(LogEvent(logger.name, level, name, _known(fields)))


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _known(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def content(record: logging.LogRecord) -> dict[str, object]:
    """The fields of one line, in the order in which they are written."""
    name: str | None = getattr(record, "event", None)
    line: dict[str, object] = {
        "time": f"{_second(int(record.created))}.{int(record.created * 1000) % 1000:03d}Z",
        "level": record.levelname.lower(),
        "event": name or LIBRARY_LINE,
        **_process,
        **_context.get({}),
        **getattr(record, "fields", {}),
    }
    if name is None:
        line |= {"logger": record.name, "message": record.getMessage()}
    return line


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    """UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Redaction:
    """Replaces secrets in a finished line: those of known form, and ``values``."""

    def __init__(self, values: Iterator[str]) -> None:
        own = sorted({value for value in values if len(value) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._own = re.compile("|".join(map(re.escape, own))) if own else None

    def __call__(self, line: str) -> str:
        if self._own is not None:
            line = self._own.sub(HIDDEN, line)
        for contained, pattern in SECRETS:
            if contained in line:
                line = pattern.sub(rf"\1{HIDDEN}", line)
        return line


class JsonLines(logging.Formatter):
    """One JSON object a line. Not the library's formatter: it goes over every field several times; ours are known."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = content(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._redact(_encode(line))


class TextLines(logging.Formatter):
    """For people: time, level, event, ``name=value``, then the message; a traceback follows on lines of its own."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = content(record)
        head = [str(line.pop("time")), str(line.pop("level")).upper(), str(line.pop("event"))]
        message = line.pop("message", None)
        text = " ".join([*head, *(f"{name}={_text(value)}" for name, value in line.items())])
        if message is not None:
            text += f": {message}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return self._redact(text)


_encode: Final = JsonEncoder(ensure_ascii=False).encode


def _text(value: object) -> str:
    text = str(value)
    return text if BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def configure(settings: SharedSettings) -> None:
    """Send every logger's lines to standard error in the format of the settings. Libraries' own handlers go."""
    redact = Redaction(secrets_of(settings))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(redact) if settings.log_format == "json" else TextLines(redact))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(True)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line has what they look up
    for name in ("uvicorn", "uvicorn.error", "celery", "celery.task", "celery.redirected"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    if settings.log_level != "debug":
        for name in (*QUIET, "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)


def secrets_of(settings: SharedSettings) -> Iterator[str]:
    """The secrets that these settings hold: passwords of URLs, and each key of a list of them."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        if "://" in text:
            yield urlsplit(text).password or ""
        else:
            yield from (part.strip() for entry in text.split(",") for part in entry.split("=", 1)[-1:])
