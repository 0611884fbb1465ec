"""The proxy of the chaos runs does to requests and replies what a rule says, and to nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis.asyncio as redis
from redis.exceptions import ConnectionError as Cut
from redis.exceptions import OutOfMemoryError

from shared.errors import StoreFull, StoreUnavailable
from shared.payloads.bucket import open_bucket
from tests.chaos.bucket_proxy import BucketProxy
from tests.chaos.proxy import Fate, StoreProxy, frame_end, words
from tests.chaos.stack import SITE
from tools.s3_server import BUCKET, S3Server
from tools.valkey import Valkey


@pytest.fixture
async def proxy(valkey: Valkey) -> AsyncIterator[StoreProxy]:
    made = await StoreProxy(valkey.port).start()
    yield made
    await made.close()


@pytest.fixture
async def client(proxy: StoreProxy) -> AsyncIterator[Any]:
    made = redis.Redis(port=proxy.port, retry=None, protocol=2)  # type: ignore[arg-type]  # None: do not
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "frame",
    [b"+OK\r\n", b":12\r\n", b"-ERR no\r\n", b"$5\r\nhe\r\no\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n",
     b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$0\r\n\r\n"],
)  # fmt: skip
def test_a_frame_ends_where_it_ends(frame: bytes) -> None:
    assert frame_end(bytearray(frame + b"+more")) == len(frame)
    assert all(frame_end(bytearray(frame[:length])) == -1 for length in range(len(frame)))


def test_words_of_a_request() -> None:
    assert words(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n") == [b"SET", b"k", b"vv"]


def only(command: bytes, fate: Fate) -> Any:
    return lambda request: fate if request[0] == command else Fate()


async def test_without_a_rule_everything_passes(client: Any) -> None:
    assert await client.set("k", b"x" * 2_000_000)
    assert len(await client.get("k")) == 2_000_000
    async with client.pipeline() as pipe:
        pipe.incr("n")
        pipe.incr("n")
        assert await pipe.execute() == [1, 2]


async def test_a_repeated_request_is_done_twice_and_answered_once(proxy: StoreProxy, client: Any) -> None:
    proxy.rule = only(b"INCR", Fate(repeat=True))
    assert await client.execute_command("INCR", "n") == 1
    assert await client.get("n") == b"2"


async def test_a_lost_reply_was_done_and_a_lost_request_was_not(proxy: StoreProxy, client: Any, valkey: Valkey) -> None:
    for fate, done in ((Fate(lose_reply=True), b"1"), (Fate(lose_request=True), None)):
        valkey.client.flushall()
        proxy.rule = only(b"INCR", fate)
        with pytest.raises(Cut):
            await client.execute_command("INCR", "n")
        assert valkey.client.get("n") == done


async def test_a_refused_request_does_not_reach_the_store(proxy: StoreProxy, client: Any, valkey: Valkey) -> None:
    proxy.rule = only(b"INCR", Fate(refuse=b"-OOM command not allowed\r\n"))
    with pytest.raises(OutOfMemoryError):
        await client.execute_command("INCR", "n")
    assert valkey.client.get("n") is None


async def test_a_late_reply_is_late(proxy: StoreProxy, client: Any) -> None:
    proxy.rule = only(b"INCR", Fate(delay=0.2))
    began = monotonic()
    assert await client.execute_command("INCR", "n") == 1
    assert monotonic() - began >= 0.2


def test_clocks_and_lookups_are_what_files_say(tmp_path: Path) -> None:
    clock, lookups = tmp_path / "clock", tmp_path / "lookups"
    clock.write_text("3600")
    lookups.write_text("none")
    code = """
import socket, time
print(time.time() - time.clock_gettime(time.CLOCK_REALTIME) > 3500)
try: socket.getaddrinfo("receiver.chaos.test", 80)
except socket.gaierror as error: print(error.errno == socket.EAI_NONAME)
"""
    own = {"PYTHONPATH": str(SITE), "CHAOS_CLOCK": str(clock), "CHAOS_DNS": str(lookups)}
    said = subprocess.run([sys.executable, "-c", code], env={**os.environ, **own}, capture_output=True, check=True)
    assert said.stdout.split() == [b"True", b"True"]


async def test_a_bucket_is_what_its_proxy_says(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = await BucketProxy(s3.port).start()
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)
    bucket = open_bucket(f"s3://{BUCKET}/proxied")
    await bucket.put("01/a/upload", b"before")
    for state, error in (("full", StoreFull), ("refused", StoreUnavailable), ("away", StoreUnavailable)):
        proxy.become(state)
        with pytest.raises(error):
            await bucket.put("01/a/upload", bytes(100_000))
    proxy.become("slow")
    assert await bucket.get("01/a/upload") == b"before"
    await proxy.close()
