"""API keys by themselves: made, found, listed, revoked; those of the settings; what is refused."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from gateway.auth.api_keys import ApiKey, ApiKeys, Scope, digest, given_keys
from shared.errors import NotFound
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.settings import Settings

LONG = "k" * 24
SAID = "every key needs a name of its own: alice=KEY,bob=KEY"
SHORT = "every key must have at least 24 characters, and a name: alice=KEY"


def settings(api_keys: str = "") -> Settings:
    return make_settings("redis://unused", api_keys=api_keys)


@pytest.fixture
def keys(store: Store) -> ApiKeys:
    return ApiKeys(store.redis, settings(f"given={LONG}"))


# -- the settings' keys


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" , ,", []),
        (f"alice={LONG}", ["alice"]),
        (f" alice={LONG} , bob={LONG}x,", ["alice", "bob"]),
        (f"a.b-c_9={LONG}", ["a.b-c_9"]),
        (f"{'a' * 64}={LONG}", ["a" * 64]),
    ],
)
def test_the_settings_bring_keys_by_name(text: str, names: list[str]) -> None:
    assert list(given_keys(settings(text))) == names


def test_a_given_key_may_hold_an_equals_sign() -> None:
    assert given_keys(settings(f"alice={LONG}==")) == {"alice": digest(f"{LONG}==")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (LONG, SHORT), (f"={LONG}", SAID), (f".alice={LONG}", SAID), (f"al ice={LONG}", SAID),
        (f"{'a' * 65}={LONG}", SAID), (f"anonymous={LONG}", SAID), (f"alice={LONG},alice={LONG}", SAID),
        (f"alice={LONG[:23]}", SHORT), ("alice=", SHORT), ("alice", SHORT),
    ],
)  # fmt: skip
def test_keys_of_the_settings_that_make_no_sense_stop_the_start_and_are_not_quoted(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        given_keys(settings(text))


async def test_a_key_of_the_settings_is_found_under_its_name(store: Store) -> None:
    keys = ApiKeys(store.redis, settings(f"bob={LONG}x,alice={LONG}"))
    assert await keys.verify(LONG) == ApiKey("given.alice", "alice", "given.alice", 0.0)
    assert await keys.verify(f"{LONG}x") == ApiKey("given.bob", "bob", "given.bob", 0.0)
    assert await keys.verify(LONG + "y") is None
    assert await keys.exist()


# -- the store's keys


async def test_a_key_is_found_by_itself_alone(keys: ApiKeys) -> None:
    before = time.time()
    key, text = await keys.create("scanner", rate=10, burst=5, pages=100)
    assert re.fullmatch(r"ocr_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    assert (key.id, key.name, key.owner) == (text[4:16], "scanner", key.id)
    assert (key.rate, key.burst, key.pages, key.revoked_at) == (10, 5, 100, None)
    assert before <= key.created_at <= time.time()
    assert await keys.verify(text) == key
    unknown = f"ocr_{'0' * 12}_{text[17:]}"
    changed = (text + "x", text[:-1], text.replace("ocr_", "OCR_"), text.upper())
    for wrong in (unknown, *changed, key.id, f"ocr_{key.id}_", ""):
        assert await keys.verify(wrong) is None


async def test_a_key_needs_its_own_prefix(keys: ApiKeys, store: Store) -> None:
    """The id alone leads to the record; the digest of the whole text decides."""
    key, text = await keys.create("scanner")
    other = text.replace("ocr_", "key_")
    await store.redis.hset(f"key:{key.id}", "digest", digest(other))
    assert await keys.verify(other) is None


async def test_what_is_not_said_is_the_settings_business(keys: ApiKeys) -> None:
    key, text = await keys.create("plain")
    assert (key.rate, key.burst, key.pages) == (None, None, None)
    assert await keys.verify(text) == key


async def test_two_keys_are_different_and_only_digests_are_kept(keys: ApiKeys, store: Store) -> None:
    (first, text), (second, other) = await keys.create("a"), await keys.create("a")
    assert first.id != second.id
    assert text[17:] != other[17:]
    record = await store.redis.hgetall(f"key:{first.id}")
    assert record[b"digest"].decode() == digest(text)
    assert text[17:] not in str(record)
    assert set(record) == {b"name", b"owner", b"created", b"digest", b"scopes"}


async def test_a_key_of_before_there_were_scopes_may_submit_and_read(keys: ApiKeys, store: Store) -> None:
    key, text = await keys.create("older")
    await store.redis.hdel(f"key:{key.id}", "scopes")
    found = await keys.verify(text)
    assert found is not None
    assert found.scopes == {Scope.SUBMIT, Scope.READ}


async def test_a_key_may_be_made_for_another_ones_jobs(keys: ApiKeys) -> None:
    old, _ = await keys.create("old")
    new, text = await keys.create("new", owner=old.id)
    assert new.owner == old.owner == old.id
    assert ((await keys.verify(text)) or new).owner == old.id


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "-a"},
        {"name": "a" * 65},
        {"name": "a\n"},
        {"name": "ok", "owner": "a b"},
        {"name": "ok", "owner": ""},
    ],
)
async def test_names_and_owners_that_make_no_sense_are_refused(keys: ApiKeys, store: Store, given: Any) -> None:
    with pytest.raises(ValueError, match=r"^names and owners have letters, digits, dots, dashes and underscores"):
        await keys.create(**given)
    assert await store.redis.keys("key*") == []


async def test_keys_are_listed_the_oldest_first(keys: ApiKeys, store: Store) -> None:
    made = [(await keys.create(name))[0] for name in ("c", "a", "b")]
    for age, key in enumerate(made):
        await store.redis.hset(f"key:{key.id}", "created", 1000 - age)
    await store.redis.sadd("keys", "0" * 12)  # half a key: its record is gone
    assert [(key.name, key.id) for key in await keys.list()] == [(key.name, key.id) for key in made[::-1]]


async def test_a_revoked_key_is_nobodys_and_says_when_it_was_revoked(keys: ApiKeys) -> None:
    key, text = await keys.create("lost")
    before = time.time()
    await keys.revoke(key.id)
    assert await keys.verify(text) is None
    (listed,) = await keys.list()
    assert listed.revoked_at is not None
    assert before <= listed.revoked_at <= time.time()
    await keys.revoke(key.id)
    assert (await keys.list())[0].revoked_at == listed.revoked_at


@pytest.mark.parametrize("key_id", ["0" * 12, "", "*", "0" * 13, "../keys"])
async def test_a_key_that_is_not_there_cannot_be_revoked(keys: ApiKeys, store: Store, key_id: str) -> None:
    with pytest.raises(NotFound, match=r"^There is no such key$"):
        await keys.revoke(key_id)
    assert await store.redis.keys("*") == []


async def test_an_id_that_is_no_id_is_not_even_looked_up(keys: ApiKeys, store: Store) -> None:
    await store.redis.hset("key:xyz", "name", "x")
    with pytest.raises(NotFound):
        await keys.revoke("xyz")
    assert await keys.verify(f"ocr_xyz_{'a' * 43}") is None


async def test_once_a_key_was_made_there_are_keys_even_after_the_last_is_revoked(store: Store) -> None:
    keys = ApiKeys(store.redis, settings())
    assert await keys.exist() is False
    key, _ = await keys.create("only")
    await keys.revoke(key.id)
    assert await keys.exist() is True


async def test_text_that_is_no_unicode_is_no_error(keys: ApiKeys) -> None:
    assert await keys.verify("\udcff" * 10) is None
    assert len({digest("a"), digest("\udcff"), digest("\udcfe")}) == 3


async def test_a_key_keeps_its_scopes_and_is_nobodys_from_its_last_moment_on(
    keys: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    scopes = frozenset(list(Scope)[:1])
    key, text = await keys.create("guest", scopes=scopes, expires_at=2_000_000_000)
    assert (key.scopes, key.expires_at) == (scopes, 2_000_000_000)
    assert await keys.verify(text) == key
    (listed,) = await keys.list()
    assert (listed.scopes, listed.expires_at) == (scopes, 2_000_000_000)
    for now, found in ((1_999_999_999.9, key), (2_000_000_000.0, None)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert await keys.verify(text) == found
