"""The body of a webhook: where it says the gateway is, and what is left out of one that is too large."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.contract.options import Options
from shared.store.jobs import Store
from tests.conftest import make_settings
from tools.uploads import submit
from worker.webhooks.payload import LARGEST, base_url, build_body


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"public_url": "https://ocr.test/"}, "https://ocr.test"),
        ({"public_url": "https://ocr.test/base//"}, "https://ocr.test/base"),
        ({"public_url": "https://ocr.test/X/"}, "https://ocr.test/X"),
        ({"host": "0.0.0.0", "port": 9000}, "http://localhost:9000"),  # noqa: S104
        ({"host": "::", "port": 9000}, "http://localhost:9000"),
        ({"host": "127.0.0.1", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "::1", "port": 8000}, "http://[::1]:8000"),
    ],
)
def test_a_receiver_is_told_where_the_gateway_is(settings: dict[str, Any], url: str) -> None:
    assert base_url(make_settings("redis://unused", **settings)) == url


async def test_a_body_is_compact_json_of_type_moment_and_job(store: Store) -> None:
    job = await store.job(await submit(store, b"x", "application/pdf", metadata={"ä": 1}))
    body = build_body("job.started", 1_700_000_000.0, job, make_settings("redis://unused", public_url="https://o.test"))
    told = json.loads(body)
    assert list(told) == ["type", "timestamp", "data"]
    assert (told["type"], told["timestamp"][:19]) == ("job.started", "2023-11-14T22:13:20")
    assert (told["data"]["id"], told["data"]["metadata"]) == (job.id, {"ä": 1})
    assert told["data"]["urls"]["self"].startswith("https://o.test/")
    assert "pages" not in told["data"]
    assert "ä".encode() in body
    assert b'": ' not in body
    assert b", " not in body


async def test_what_the_caller_sent_is_left_out_only_where_the_body_would_be_too_large(store: Store) -> None:
    settings = make_settings("redis://unused")
    options = Options(prompt="p" * 2000)
    small = await store.job(await submit(store, b"x", "application/pdf", metadata={"a": "b" * 4000}, options=options))
    body = build_body("job.started", 0.0, small, settings)
    spare = LARGEST - len(body)
    full = small.model_copy(update={"metadata": {"a": "b" * (4000 + spare)}})
    assert len(build_body("job.started", 0.0, full, settings)) == LARGEST
    assert json.loads(build_body("job.started", 0.0, full, settings))["data"]["options"]["prompt"] == "p" * 2000
    large = small.model_copy(update={"metadata": {"a": "b" * (4001 + spare)}})
    whole = json.loads(build_body("job.started", 0.0, large, settings))
    assert (whole["type"], whole["timestamp"][:19]) == ("job.started", "1970-01-01T00:00:00")
    told = whole["data"]
    assert (told["metadata"], told["options"]["prompt"], told["options"]["type"]) == ({}, None, "document")
    assert told["id"] == small.id
