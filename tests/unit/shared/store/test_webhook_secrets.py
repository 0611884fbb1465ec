"""The secrets that sign webhooks: made at first need, replaced with a day's overlap, given by a setting."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime

import pytest

from shared.errors import Forbidden
from shared.store.jobs import Store
from shared.store.webhook_secrets import Secrets, WebhookSecrets, new_secret, signature_headers
from tests.conftest import make_settings

GIVEN = "whsec_" + base64.b64encode(b"g" * 32).decode()


def signature(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


def test_a_new_secret_is_256_random_bits_as_the_standard_writes_them() -> None:
    made = {new_secret() for _ in range(20)}
    assert len(made) == 20
    assert {len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) for one in made} == {32}


def test_every_valid_secret_signs_at_the_moment_given() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)
    first, second = new_secret(), new_secret()
    headers = signature_headers(Secrets(first, second, 1.0), "msg_1", "ä".encode(), now)
    stamp = int(now.timestamp())
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": f"{signature(first, 'msg_1', stamp, 'ä'.encode())} "
        f"{signature(second, 'msg_1', stamp, 'ä'.encode())}",
    }
    alone = signature_headers(Secrets(first), "msg_1", b"x", now)
    assert alone["webhook-signature"] == signature(first, "msg_1", stamp, b"x")


def test_without_a_moment_now_is_signed() -> None:
    before = int(time.time())
    headers = signature_headers(Secrets(new_secret()), "msg_1", b"x")
    assert before <= int(headers["webhook-timestamp"]) <= time.time()


async def test_an_owner_keeps_its_secret_and_shares_it_with_nobody(store: Store) -> None:
    known = WebhookSecrets(store.redis, make_settings("redis://unused"))
    first = await known.secrets("alice")
    assert first.current.startswith("whsec_")
    assert (first.previous, first.previous_until) == (None, None)
    assert await known.secrets("alice") == first
    assert (await known.secrets("bob")).current != first.current


async def test_a_replaced_secret_signs_on_for_a_day(store: Store) -> None:
    known = WebhookSecrets(store.redis, make_settings("redis://unused"))
    first = await known.secrets("alice")
    second = await known.rotate("alice")
    assert second.current != first.current
    assert second.previous == first.current
    assert second.previous_until is not None
    assert 86_390 < second.previous_until - time.time() <= 86_401
    assert await known.secrets("alice") == second
    third = await known.rotate("alice")
    assert (third.previous, third.current != second.current) == (second.current, True)


async def test_a_secret_of_the_settings_is_the_anonymous_callers_and_cannot_be_replaced(store: Store) -> None:
    known = WebhookSecrets(store.redis, make_settings("redis://unused", webhook_secret=GIVEN))
    assert await known.secrets("anonymous") == Secrets(GIVEN)
    with pytest.raises(Forbidden, match=r"^The secret is given by the setting WEBHOOK_SECRET$"):
        await known.rotate("anonymous")
    assert (await known.secrets("alice")).current != GIVEN
    assert (await known.rotate("alice")).previous is not None


async def test_without_one_in_the_settings_anonymous_callers_have_one_too(store: Store) -> None:
    known = WebhookSecrets(store.redis, make_settings("redis://unused"))
    first = await known.secrets("anonymous")
    assert (await known.rotate("anonymous")).previous == first.current
