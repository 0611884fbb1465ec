"""A webhook is verified with the package alone; the signature is made by another implementation."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from ocr_client import BadSignature, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"type": "job.succeeded", "data": {"id": "01J"}}).encode()


def headers(body: bytes = BODY, age: float = 0, secret: str = SECRET) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age)
    signature = Webhook(secret).sign("msg_1", at, body.decode())
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(int(at.timestamp())), "Webhook-Signature": signature}


def test_the_event_of_a_true_one() -> None:
    assert verify_webhook(BODY, headers(), SECRET)["data"] == {"id": "01J"}


def test_one_of_several_signatures_is_enough() -> None:
    given = headers()
    assert verify_webhook(BODY, {**given, "Webhook-Signature": f"v1,bm9uZQ== {given['Webhook-Signature']}"}, SECRET)


@pytest.mark.parametrize(
    "given",
    [{}, headers(b"another"), headers(age=6000), headers(age=-6000), headers(secret="whsec_c2VjcmV0IG9mIGFub3RoZXI="),
     {**headers(), "Webhook-Id": "msg_2"}, {**headers(), "Webhook-Timestamp": "now"}],
)  # fmt: skip
def test_anything_else_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        verify_webhook(BODY, given, SECRET)
