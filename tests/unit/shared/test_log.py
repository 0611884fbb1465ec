"""The format of log lines, and what never stands in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from shared import log
from tests.conftest import make_settings


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``written(log_format=...)`` configures the logs; what is then written is in the buffer that it gives."""
    monkeypatch.setattr(log, "_process", {})  # a worker of another test may have named this process
    monkeypatch.setattr(log, "_context", ContextVar("log_context"))  # and its request left something bound
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure(**settings: Any) -> io.StringIO:
        log.configure(make_settings("redis://user:hunter2-hunter2@store:6379/0", **settings))
        buffer = io.StringIO()
        handler = root.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(buffer)
        return buffer

    yield configure
    root.handlers, root.level = before
    logging.captureWarnings(False)


logger = logging.getLogger("test.logs")


def test_a_line_has_the_fields_of_its_event_and_those_that_are_bound(written: Any) -> None:
    out = written(log_format="json")
    with log.scope(request_id="r-1"):
        log.bind(job="j-1")
        with log.scope(page=3):
            log.event(logger, "page.done", ms=12, reason=None)
    log.event(logger, "job.ended")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert list(first) == ["time", "level", "event", "request_id", "job", "page", "ms"]
    assert (first["event"], first["job"], first["page"], first["ms"]) == ("page.done", "j-1", 3, 12)
    assert list(second) == ["time", "level", "event"]


def test_a_line_of_a_library_has_the_same_format(written: Any) -> None:
    out = written(log_format="json")
    logging.getLogger("celery.worker").warning("a line\nof %s", "two")
    (line,) = (json.loads(line) for line in out.getvalue().splitlines())
    assert (line["event"], line["logger"], line["message"]) == ("log", "celery.worker", "a line\nof two")


def test_text_is_for_people(written: Any) -> None:
    out = written(log_format="text")
    log.event(logger, "job.started", engine="instant", note="two words")
    logger.info("as it is")
    first, second = out.getvalue().splitlines()
    assert first.partition("Z ")[2] == 'INFO job.started engine=instant note="two words"'
    assert second.partition("Z ")[2] == "INFO log logger=test.logs: as it is"


@pytest.mark.parametrize(
    "secret",
    [
        "ocr_0123456789ab_SECRETSECRET", "whsec_c2VjcmV0c2VjcmV0", "/jobs/1?token=SECRETSECRET", "hunter2-hunter2",
        "redis://other:SECRETSECRET@host/0", "alices-key-of-24-characters",
    ],
)  # fmt: skip
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_replaced_also_in_tracebacks(written: Any, log_format: str, secret: str) -> None:
    out = written(log_format=log_format, api_keys="alice=alices-key-of-24-characters")
    try:
        raise RuntimeError(f"could not use {secret}")
    except RuntimeError:
        logger.exception("with %s", secret)
    log.event(logger, "it", what=secret)
    text = out.getvalue()
    assert secret not in text
    assert "SECRETSECRET" not in text
    assert text.count("***") == 3  # the message, the traceback, the event
