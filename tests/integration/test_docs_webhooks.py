"""The receiver of docs/webhooks.md, taken from the page and run: it takes what the sender signs, and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from shared.store.webhook_secrets import Secrets, new_secret, signature_headers
from tools.valkey import ROOT

BODY = b'{"type": "job.succeeded", "data": {"id": "01J", "urls": {"result": "http://x/r"}}}'


def example() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "webhooks.md").read_text(), re.S)
    return str(found)


@pytest.fixture
def receiver() -> dict[str, Any]:
    space: dict[str, Any] = {}
    exec(compile(example(), "docs/webhooks.md", "exec", dont_inherit=True), space)  # noqa: S102 - our own page
    return space


async def post(receiver: dict[str, Any], headers: dict[str, str], body: bytes = BODY) -> int:
    transport = httpx.ASGITransport(receiver["app"], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        return (await client.post("/ocr", content=body, headers=headers)).status_code


def test_it_has_ten_lines() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 10


async def test_it_takes_what_was_signed_with_its_secret_also_while_that_rotates(receiver: dict[str, Any]) -> None:
    own = receiver["secret"]
    for known in (Secrets(own), Secrets(own, new_secret(), 0.0), Secrets(new_secret(), own, 0.0)):
        assert await post(receiver, signature_headers(known, "msg_1", BODY)) == 204


async def test_it_refuses_all_else(receiver: dict[str, Any]) -> None:
    known = Secrets(receiver["secret"])
    good = signature_headers(known, "msg_1", BODY)
    late = signature_headers(known, "msg_1", BODY, datetime.now(UTC) - timedelta(minutes=6))
    foreign = signature_headers(Secrets(new_secret()), "msg_1", BODY)
    for headers in (late, foreign, good | {"webhook-id": "msg_2"}, {"webhook-id": "msg_1"}):
        assert await post(receiver, headers) == 500
    assert await post(receiver, good, BODY + b" ") == 500
