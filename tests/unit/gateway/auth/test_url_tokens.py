"""Tokens for URLs: one job, one owner, until a moment; made by any gateway and read by any other."""

from __future__ import annotations

import time

import pytest

from gateway.auth.url_tokens import Tokens
from shared.store import keyspace
from shared.store.jobs import Store

JOB, OTHER = "01JD0000000000000000000001", "01JD0000000000000000000002"


def soon() -> int:
    return int(time.time()) + 60


async def test_a_token_names_its_owner_at_every_gateway(store: Store) -> None:
    token = await Tokens(store.redis).make(JOB, "alice", soon())
    assert await Tokens(store.redis).owner(token, JOB) == "alice"
    assert token.split(".")[:2][1] == "alice"


async def test_a_token_is_for_one_job(store: Store) -> None:
    tokens = Tokens(store.redis)
    assert await tokens.owner(await tokens.make(JOB, "alice", soon()), OTHER) is None


async def test_a_token_ends_at_its_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(store.redis)
    token = await tokens.make(JOB, "alice", 2_000_000_000)
    for now, owner in ((1_999_999_999.9, "alice"), (2_000_000_000.0, None), (2_000_000_001.0, None)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert await tokens.owner(token, JOB) == owner


@pytest.mark.parametrize("part", [0, 1, 2], ids=["expiry", "owner", "signature"])
async def test_no_part_of_a_token_can_be_changed(store: Store, part: int) -> None:
    tokens = Tokens(store.redis)
    parts = (await tokens.make(JOB, "alice", soon())).split(".")
    parts[part] = {0: str(soon() + 1), 1: "mallory", 2: parts[2][::-1]}[part]
    assert await tokens.owner(".".join(parts), JOB) is None


async def test_owners_with_dots_are_read_back_whole(store: Store) -> None:
    tokens = Tokens(store.redis)
    assert await tokens.owner(await tokens.make(JOB, "given.a.b", soon()), JOB) == "given.a.b"


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "x", "9999999999", "9999999999.alice", "9999999999.alice.", "é.ü.ö", "\udcff.a.b", "9.a.\udcff"],
)
async def test_what_is_no_token_is_refused_and_no_error(store: Store, text: str) -> None:
    assert await Tokens(store.redis).owner(text, JOB) is None


async def test_the_secret_is_made_once_is_long_and_is_the_stores(store: Store) -> None:
    first, second = Tokens(store.redis), Tokens(store.redis)
    await first.make(JOB, "alice", soon())
    secret = await store.redis.get(keyspace.URL_TOKEN_SECRET())
    assert len(bytes.fromhex(secret.decode())) == 32
    token = await second.make(JOB, "alice", 2_000_000_000)
    assert await store.redis.get(keyspace.URL_TOKEN_SECRET()) == secret
    await store.redis.set(keyspace.URL_TOKEN_SECRET(), "another")
    assert await first.make(JOB, "alice", 2_000_000_000) == token, "read once, then kept"
    assert await Tokens(store.redis).owner(token, JOB) is None


async def test_gateways_that_start_one_after_another_sign_alike(store: Store) -> None:
    assert len({await Tokens(store.redis).make(JOB, "alice", 2_000_000_000) for _ in range(5)}) == 1
