"""API keys at rest, who is let in by which, limits, quotas, tokens, and a start that is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.auth.api_keys import ApiKeys, digest, given_keys
from gateway.auth.url_tokens import Tokens
from gateway.keys import main
from shared.store.jobs import Store
from tests.conftest import make_settings
from tests.integration.conftest import Kept, Script, client_of
from tests.settings import Settings, settings_of
from tools.processes import Gateway, environment
from tools.uploads import png, tiff
from tools.valkey import ROOT, Valkey, free_port

GIVEN = "carol-has-a-key-of-her-own-0123456789"
JOBS = "/api/v1/jobs"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def make(store: Store, name: str = "alice", **more: Any) -> tuple[str, str]:
    """A key's id, and the key."""
    key, text = await ApiKeys(store.redis, settings_of(store)).create(name, **more)
    return key.id, text


def files(data: bytes) -> dict[str, Any]:
    return {"file": ("a.png", data, "image/png")}


def refused(answer: httpx.Response, status: int, code: str) -> httpx.Response:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer


async def test_no_key_is_needed_while_none_was_made(api: httpx.AsyncClient) -> None:
    assert (await api.get(JOBS)).status_code == 200


async def test_once_a_key_was_made_one_is_needed_and_revoking_it_opens_nothing(
    api: httpx.AsyncClient, store: Store
) -> None:
    key_id, key = await make(store)
    answer = refused(await api.get(JOBS), 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (await api.get(JOBS, headers=bearer(key))).status_code == 200
    assert (await api.get(JOBS, headers={"X-API-Key": key})).status_code == 200
    await ApiKeys(store.redis, settings_of(store)).revoke(key_id)
    for headers in ({}, bearer(key), {"X-API-Key": key}):
        refused(await api.get(JOBS, headers=headers), 401, "unauthorized")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Basic {key}"},
        {"Authorization": "Bearer {key}x"}, {"Authorization": "Bearer x{key}"}, {"X-API-Key": "ocr_"},
        {"X-API-Key": "ocr_{id}_"}, {"X-API-Key": "{digest}"}, {"X-API-Key": "ocr_{id}_{digest}"},
        {"X-API-Key": "ocr_*_x"}, {"X-API-Key": "ocr_" + "0" * 12 + "_x"}, {"X-API-Key": "é" * 20},
        {"X-API-Key": "a" * 8000},
    ],
    ids=range(13),
)  # fmt: skip
async def test_nothing_but_the_key_comes_in(api: httpx.AsyncClient, store: Store, headers: dict[str, str]) -> None:
    key_id, key = await make(store)
    sent = httpx.Headers(
        [
            (name.encode(), value.format(key=key, id=key_id, digest=digest(key)).encode("latin-1"))
            for name, value in headers.items()
        ]
    )
    refused(await api.get(JOBS, headers=sent), 401, "unauthorized")


async def test_the_store_holds_no_key(store: Store, valkey: Valkey) -> None:
    key_id, key = await make(store)
    secret = key.removeprefix(f"ocr_{key_id}_")
    assert len(secret) >= 43
    for name in valkey.client.keys("*"):
        assert secret.encode() not in valkey.client.dump(name)  # type: ignore[operator]


async def test_keys_given_by_settings_come_in_and_everyone_else_stays_out(valkey: Valkey, inspector: Kept) -> None:
    life = client_of(make_settings(valkey.url, api_keys=f"carol={GIVEN}"))
    life.app.state.services.inspector = inspector
    async with life as api:
        refused(await api.get(JOBS), 401, "unauthorized")
        job = (await api.post(JOBS, files=files(png(1)), headers=bearer(GIVEN))).json()
        assert valkey.client.hget(f"job:{job['id']}", "owner") == b"given.carol"


@pytest.mark.parametrize("keys", ["short=abc", "=" + GIVEN, GIVEN, f"anonymous={GIVEN}", f"a={GIVEN},a={GIVEN}"])
def test_given_keys_that_cannot_be_used_are_refused_without_being_shown(keys: str) -> None:
    with pytest.raises(ValueError) as refused:
        given_keys(make_settings("redis://unused", api_keys=keys))
    assert GIVEN not in str(refused.value)


async def test_the_burst_is_let_through_and_then_the_rate(valkey: Valkey, store: Store) -> None:
    _, key = await make(store, rate=1, burst=5)
    async with client_of(settings_of(store)) as api:
        answers = [await api.get(JOBS, headers=bearer(key)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:5]] == [
            f"r={n}" for n in (4, 3, 2, 1, 0)
        ]
        last = refused(answers[5], 429, "rate-limited")
        assert last.headers["ratelimit-policy"] == '"requests";q=1;w=60'
        assert 50 <= int(last.headers["retry-after"]) <= 60
        _, other = await make(store, "bob")
        assert (await api.get(JOBS, headers=bearer(other))).status_code == 200
        valkey.client.delete(*valkey.client.keys("rl:*"))
        assert (await api.get(JOBS, headers=bearer(key))).status_code == 200


async def test_pages_beyond_the_days_quota_are_refused(valkey: Valkey, store: Store, inspector: Kept) -> None:
    key_id, key = await make(store, pages=4)
    life = client_of(settings_of(store))
    life.app.state.services.inspector = inspector
    async with life as api:
        three = {"file": ("a.tiff", tiff([1, 2, 3]), "image/tiff")}
        twice = [await api.post(JOBS, files=three, headers=bearer(key) | {"Idempotency-Key": "k"}) for _ in range(2)]
        assert [answer.status_code for answer in twice] == [202, 202]
        before = sorted(valkey.client.keys("job:*"))
        answer = refused(await api.post(JOBS, files=three, headers=bearer(key)), 429, "rate-limited")
        assert sorted(valkey.client.keys("job:*")) == before
        assert int(answer.headers["retry-after"]) <= 86400
        assert '"pages";q=4;w=86400' in answer.headers["ratelimit-policy"]
        assert '"pages";r=1;' in answer.headers["ratelimit"]
        assert (await api.post(JOBS, files=files(png(4)), headers=bearer(key))).status_code == 202
        (quota,) = valkey.client.keys(f"quota:{key_id}:*")
        assert valkey.client.get(quota) == b"4"


async def test_a_second_key_of_an_owner_sees_the_first_ones_jobs(api: httpx.AsyncClient, store: Store) -> None:
    key_id, old = await make(store)
    _, new = await make(store, "alice-2", owner=key_id)
    job = (await api.post(JOBS, files=files(png(1)), headers=bearer(old))).json()
    assert (await api.get(f"{JOBS}/{job['id']}", headers=bearer(new))).status_code == 200


async def test_a_token_reads_its_job_and_no_other_and_changes_nothing(
    api: httpx.AsyncClient, store: Store, script: Script
) -> None:
    _, key = await make(store)
    mine, other = [(await api.post(JOBS, files=files(png(n)), headers=bearer(key))).json()["id"] for n in (1, 2)]
    made = await api.post(f"{JOBS}/{mine}/token", headers=bearer(key))
    assert made.status_code == 201
    token = {"token": made.json()["token"]}
    await script.do(mine)
    events = await api.get(f"{JOBS}/{mine}/events", params=token)
    assert (events.status_code, "event: done" in events.text) == (200, True)
    assert (await api.get(f"{JOBS}/{mine}/result", params=token)).status_code == 200
    refused(await api.get(f"{JOBS}/{other}/events", params=token), 401, "unauthorized")
    refused(await api.get(JOBS, params=token), 401, "unauthorized")
    for method, path in (("POST", "/cancel"), ("DELETE", ""), ("POST", "/token")):
        refused(await api.request(method, f"{JOBS}/{mine}{path}", params=token), 401, "unauthorized")
    refused(await api.get(f"{JOBS}/{mine}/events", params={"token": token["token"] + "0"}), 401, "unauthorized")


async def test_a_token_ends_and_cannot_be_prolonged_or_moved_to_another_owner(store: Store) -> None:
    tokens = Tokens(store.redis)
    old = await tokens.make("job", "alice", 1)
    assert await tokens.owner(old, "job") is None
    good = await tokens.make("job", "alice", 2**40)
    assert await tokens.owner(good, "job") == "alice"
    assert await Tokens(store.redis).owner(good, "job") == "alice"  # another gateway
    for wrong in (good.replace("alice", "bob"), "9" + good, good[:-1], "", "..", "1.a.é", f"x{good}"):
        assert await tokens.owner(wrong, "job") is None
    assert await tokens.owner(good, "job2") is None


def cli(valkey: Valkey, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.keys", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(redis_url=valkey.url), capture_output=True, text=True, timeout=60
    )


def test_the_command_makes_lists_and_revokes(valkey: Valkey, settings: Settings) -> None:
    made = cli(valkey, "create", "alice", "--rate", "5", "--pages", "100")
    key = made.stdout.strip()
    assert (made.returncode, key.startswith("ocr_")) == (0, True)
    key_id = key.split("_")[1]
    listed = cli(valkey, "list").stdout
    assert key_id in listed
    assert "alice" in listed
    assert key.split("_", 2)[2] not in listed
    assert digest(key) not in listed
    assert cli(valkey, "revoke", key_id).returncode == 0
    assert valkey.client.hexists(f"key:{key_id}", "revoked")
    assert cli(valkey, "revoke", "0" * 12).returncode == 1


@pytest.mark.parametrize(
    "arguments", [["create", "a b"], ["create", ""], ["create", "a", "--owner", "b c"], ["revoke", "*"]]
)
def test_the_command_refuses_in_one_line(valkey: Valkey, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", valkey.url)
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert "\n" not in str(refused.value.code)
    assert valkey.client.keys("*") == []


def start_open(valkey_url: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    env = environment(redis_url=valkey_url, port=free_port(), host="0.0.0.0", **settings)  # noqa: S104
    return subprocess.run(
        [sys.executable, "-m", "gateway"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )


def test_an_open_address_without_keys_is_refused_at_the_start(valkey: Valkey) -> None:
    done = start_open(valkey.url)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "gateway.keys create" in line
    assert "ALLOW_ANONYMOUS" in line


@pytest.mark.parametrize("how", ["allowed", "stored key", "given key", "store away"])
def test_an_open_address_starts_with_a_key_or_when_told_so(valkey: Valkey, tmp_path: Path, how: str) -> None:
    settings: dict[str, Any] = {"host": "0.0.0.0"}  # noqa: S104
    url = valkey.url
    if how == "allowed":
        settings["allow_anonymous"] = "true"
    elif how == "given key":
        settings["api_keys"] = f"carol={GIVEN}"
    elif how == "stored key":
        cli(valkey, "create", "alice")
    else:
        url = f"redis://127.0.0.1:{free_port()}/0"
    gateway = Gateway(tmp_path, url, **settings).wait_ready()
    try:
        status = httpx.get(f"{gateway.url}{JOBS}", timeout=20).status_code
        assert status == (200 if how == "allowed" else 401)
    finally:
        gateway.kill()


async def test_many_calls_at_once_are_counted_exactly(store: Store) -> None:
    _, key = await make(store, rate=1, burst=7)
    async with client_of(settings_of(store)) as api:
        answers = await asyncio.gather(*(api.get(JOBS, headers=bearer(key)) for _ in range(30)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [429] * 23
