"""The faults: each breaks one thing for a while and mends it, so that the stack can always recover."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import redis

from shared.store.scripts import script_digest
from tests.chaos.proxy import Fate, Rule, pass_all
from tests.chaos.stack import LEASE, ChaosStack
from tools.processes import Process
from tools.valkey import Valkey

REFUSALS: Final = (
    b"-OOM command not allowed when used memory > 'maxmemory'.",
    b"-MISCONF Errors writing to the AOF file: No space left on device",
    b"-READONLY You can't write against a read only replica.",
    b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    b"-LOADING Redis is loading the dataset in memory",
    b"-NOPERM User default has no permissions to run the 'evalsha' command",
    b"-CLUSTERDOWN The cluster is down",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"-TRYAGAIN Multiple keys request during rehashing of slot",
    b"-ERR max number of clients reached",
    b"?this is not the protocol",
)
SLOW_SCRIPT: Final = """
local function now() local t = redis.call('TIME') return t[1] + t[2] / 1e6 end
local till = now() + tonumber(ARGV[1])
while now() < till do end
"""
HOUR: Final = 3600

Fault = Callable[[ChaosStack], Awaitable[None]]


# -- processes


async def down(stack: ChaosStack, process: Process, seconds: float) -> None:
    """Killed, and away for a while."""
    stack.busy.add(process)
    try:
        await asyncio.to_thread(process.kill)
        await asyncio.sleep(seconds)
        process.start()
    finally:
        stack.busy.discard(process)


async def frozen(process: Process | Valkey, seconds: float) -> None:
    process.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        process.signal(signal.SIGCONT)


async def worker_killed(stack: ChaosStack) -> None:
    await down(stack, stack.rng.choice(stack.workers), stack.rng.uniform(0, 1))


async def worker_frozen_then_killed(stack: ChaosStack) -> None:
    """Redis may have handed it a message that it never wrote down."""
    worker = stack.rng.choice(stack.workers)
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(stack.rng.uniform(0.2, 1))
    await down(stack, worker, 0)


async def worker_paused_beyond_its_lease(stack: ChaosStack) -> None:
    await frozen(stack.rng.choice(stack.workers), LEASE + stack.rng.uniform(0.5, 2))


async def worker_stopped(stack: ChaosStack) -> None:
    worker = stack.rng.choice(stack.workers)
    stack.busy.add(worker)
    try:
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.popen.wait, 40)
        worker.start()
    finally:
        stack.busy.discard(worker)


async def gateway_killed(stack: ChaosStack) -> None:
    await down(stack, stack.rng.choice(stack.gateways), stack.rng.uniform(0, 0.5))


async def gateway_frozen(stack: ChaosStack) -> None:
    await frozen(stack.rng.choice(stack.gateways), stack.rng.uniform(1, 4))


async def sender_killed(stack: ChaosStack) -> None:
    await down(stack, stack.rng.choice(stack.senders), stack.rng.uniform(0, 1))


async def everything_killed(stack: ChaosStack) -> None:
    """Power is gone, and comes back for all at once."""
    stack.busy.update(stack.processes)
    for process in stack.processes:
        await asyncio.to_thread(process.kill)
    await asyncio.to_thread(stack.valkey.stop)
    order = stack.rng.sample(stack.processes, len(stack.processes))
    for process in order[:3]:
        process.start()
    await asyncio.sleep(stack.rng.uniform(0, 4))
    await asyncio.to_thread(stack.valkey.start)
    for process in order[3:]:
        process.start()
    stack.busy.clear()


async def clock_jumped(stack: ChaosStack) -> None:
    process = stack.rng.choice(stack.processes)
    stack.clock(process).write_text(str(stack.rng.choice((-HOUR, -30, 30, HOUR))))
    await asyncio.sleep(stack.rng.uniform(1, 5))
    stack.clock(process).write_text("0")


# -- the store itself


async def store_killed(stack: ChaosStack) -> None:
    await asyncio.to_thread(stack.valkey.stop)
    await asyncio.sleep(stack.rng.uniform(0, 1.5))
    await asyncio.to_thread(stack.valkey.start)


async def store_loading(stack: ChaosStack) -> None:
    """It is back, and takes its time to load: everyone is told LOADING meanwhile."""
    with ruled(stack, lambda _request: Fate(refuse=b"-LOADING Valkey is loading the dataset\r\n"), stack.processes):
        await asyncio.to_thread(stack.valkey.stop)
        await asyncio.to_thread(stack.valkey.start)
        await asyncio.sleep(stack.rng.uniform(0.5, 4))


async def store_frozen(stack: ChaosStack) -> None:
    await frozen(stack.valkey, stack.rng.uniform(1, 6))


async def store_busy(stack: ChaosStack) -> None:
    """A slow script: after a while everyone else is told BUSY."""
    seconds = stack.rng.uniform(0.5, 6)
    with redis.Redis(port=stack.valkey.port, socket_timeout=30) as client:
        await asyncio.to_thread(client.config_set, "busy-reply-threshold", 200)
        await asyncio.to_thread(client.eval, SLOW_SCRIPT, 0, seconds)


async def configured(stack: ChaosStack, name: str, broken: object, well: object) -> None:
    stack.valkey.client.config_set(name, broken)  # type: ignore[arg-type]
    try:
        await asyncio.sleep(stack.rng.uniform(0.5, 6))
    finally:
        await until_answered(lambda: stack.valkey.client.config_set(name, well))  # type: ignore[arg-type]


async def until_answered(ask: Callable[[], object]) -> None:
    while True:
        try:
            await asyncio.to_thread(ask)
            return
        except redis.RedisError:
            await asyncio.sleep(0.1)


async def store_full(stack: ChaosStack) -> None:
    await configured(stack, "maxmemory", "1mb", "0")


async def store_without_replicas(stack: ChaosStack) -> None:
    await configured(stack, "min-replicas-to-write", 1, 0)


async def store_read_only(stack: ChaosStack) -> None:
    """It takes itself for a replica, as after a failover that went wrong."""
    stack.valkey.client.replicaof("127.0.0.1", "1")
    try:
        await asyncio.sleep(stack.rng.uniform(0.5, 4))
    finally:
        await until_answered(lambda: stack.valkey.client.replicaof("NO", "ONE"))


async def store_forbids(stack: ChaosStack) -> None:
    stack.valkey.client.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval", "-xread", "-brpop")  # type: ignore[no-untyped-call]
    try:
        await asyncio.sleep(stack.rng.uniform(0.5, 4))
    finally:
        await until_answered(lambda: stack.valkey.client.execute_command("ACL", "SETUSER", "default", "+@all"))  # type: ignore[no-untyped-call]


async def store_forgets_scripts(stack: ChaosStack) -> None:
    stack.valkey.client.script_flush()


async def disk_full(stack: ChaosStack) -> None:
    """No file of the store may grow: what it cannot append to its file, it refuses."""
    assert stack.valkey.process is not None
    pid = stack.valkey.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in stack.valkey.folder.rglob("*.aof"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, most))
    try:
        await asyncio.sleep(stack.rng.uniform(2, 6))
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


async def connections_reset(stack: ChaosStack) -> None:
    await asyncio.to_thread(stack.valkey.client.client_kill_filter, _type="normal", skipme=True)


async def message_delivered_twice(stack: ChaosStack) -> None:
    """Copies of what waits or is unacknowledged, as a broker may send them."""
    client = stack.valkey.client
    for message in client.lrange("ocr", 0, 3) + client.lrange("ocr\x06\x163", 0, 3):
        copy = json.loads(message)
        copy["properties"]["delivery_tag"] = f"copy-{stack.rng.random()}"
        client.lpush("ocr", json.dumps(copy))


# -- between a process and the store


@contextlib.contextmanager
def ruled(stack: ChaosStack, rule: Rule, processes: list[Process] | None = None) -> Iterator[None]:
    """Some processes' ways to the store under a rule; by default those of one."""
    some = processes or [stack.rng.choice(stack.processes)]
    for process in some:
        stack.proxies[process].rule = rule
    try:
        yield
    finally:
        for process in some:
            stack.proxies[process].rule = pass_all


def sometimes(rng: random.Random, share: float, fate: Callable[[], Fate]) -> Rule:
    return lambda request: fate() if rng.random() < share and is_script(request) else Fate()


def is_script(request: list[bytes]) -> bool:
    return request[0].upper() in (b"EVALSHA", b"EVAL")


async def replies_late(stack: ChaosStack) -> None:
    """Each by another while: what was asked first is answered last."""
    rule = sometimes(stack.rng, 0.3, lambda: Fate(delay=stack.rng.choice((0.05, 0.3, 1.0, 2.5))))
    with ruled(stack, rule, stack.processes):
        await asyncio.sleep(stack.rng.uniform(2, 6))


async def replies_lost(stack: ChaosStack) -> None:
    with ruled(stack, sometimes(stack.rng, 0.3, lambda: Fate(lose_reply=True)), stack.processes):
        await asyncio.sleep(stack.rng.uniform(1, 4))


async def requests_lost(stack: ChaosStack) -> None:
    with ruled(stack, sometimes(stack.rng, 0.3, lambda: Fate(lose_request=True)), stack.processes):
        await asyncio.sleep(stack.rng.uniform(1, 4))


async def requests_repeated(stack: ChaosStack) -> None:
    """Scripts are done twice, as by a client that sends again what it thinks was lost."""
    with ruled(stack, sometimes(stack.rng, 0.5, lambda: Fate(repeat=True)), stack.processes):
        await asyncio.sleep(stack.rng.uniform(2, 6))


async def one_script_refused(stack: ChaosStack) -> None:
    """Every call of one script, by one kind of refusal."""
    name = stack.rng.choice(("submit", "claim", "start", "renew", "page_start", "page_end", "finish", "stream", "view"))
    digest, refusal = script_digest(name).encode(), stack.rng.choice(REFUSALS) + b"\r\n"
    rule: Rule = lambda request: Fate(refuse=refusal) if digest in request[:2] else Fate()  # noqa: E731
    with ruled(stack, rule, stack.processes):
        await asyncio.sleep(stack.rng.uniform(0.5, 4))


async def one_process_refused(stack: ChaosStack) -> None:
    refusal = stack.rng.choice(REFUSALS) + b"\r\n"
    with ruled(stack, lambda _request: Fate(refuse=refusal)):
        await asyncio.sleep(stack.rng.uniform(0.5, 5))


async def one_process_cut_off(stack: ChaosStack) -> None:
    process = stack.rng.choice(stack.processes)
    with ruled(stack, lambda _request: Fate(lose_request=True), [process]):
        stack.proxies[process].cut()
        await asyncio.sleep(stack.rng.uniform(0.5, LEASE + 2))


# -- the receiver of webhooks


async def lookups_fail(stack: ChaosStack) -> None:
    for _ in range(stack.rng.randint(1, 4)):
        stack.lookups.write_text(stack.rng.choice(("again", "none", "slow")))
        await asyncio.sleep(stack.rng.uniform(0.3, 2))
        stack.lookups.write_text("ok")
        await asyncio.sleep(stack.rng.uniform(0.1, 0.5))


# -- the payload folder


async def payloads_refuse(stack: ChaosStack) -> None:
    """No room, errors, or slow writes: workers keep what they have read."""
    for state in stack.rng.sample(("full", "refused", "slow"), 2):
        stack.payloads_become(state)
        await asyncio.sleep(stack.rng.uniform(1, 5))
    stack.payloads_become("ok")


async def payloads_away(stack: ChaosStack) -> None:
    """Its disk is not mounted, or its bucket not reached, for a while."""
    if stack.bucket is not None:
        stack.bucket.become("away")
        await asyncio.sleep(stack.rng.choice((2, 5, 20)))
        stack.bucket.become("ok")
        return
    if not stack.payloads.is_dir():
        return  # nothing is kept there in this run
    elsewhere = stack.payloads.with_name("unmounted")
    await asyncio.to_thread(stack.payloads.rename, elsewhere)
    try:
        await asyncio.sleep(stack.rng.choice((2, 5, 20)))
    finally:
        await asyncio.to_thread(bring_back, elsewhere, stack.payloads)


def bring_back(elsewhere: Path, payloads: Path) -> None:
    """In the first second, before Redis knows of the folder, a process may have made it anew: that is moved over."""
    made_anew = payloads.with_name("made-anew")
    with contextlib.suppress(FileNotFoundError):
        payloads.rename(made_anew)
    elsewhere.rename(payloads)
    if made_anew.is_dir():
        shutil.copytree(made_anew, payloads, dirs_exist_ok=True)
        shutil.rmtree(made_anew)


async def worker_killed_between_payload_and_record(stack: ChaosStack) -> None:
    stack.payloads_become("slow")
    await asyncio.sleep(stack.rng.uniform(0.5, 2))
    await worker_killed(stack)
    stack.payloads_become("ok")


FAULTS: Final[dict[str, Fault]] = {
    "worker kill -9": worker_killed,
    "worker frozen, then kill -9": worker_frozen_then_killed,
    "worker paused beyond its lease": worker_paused_beyond_its_lease,
    "worker TERM": worker_stopped,
    "gateway kill -9": gateway_killed,
    "gateway frozen": gateway_frozen,
    "sender kill -9": sender_killed,
    "everything kill -9": everything_killed,
    "clock jumped": clock_jumped,
    "store kill -9": store_killed,
    "store loading": store_loading,
    "store frozen": store_frozen,
    "store busy": store_busy,
    "store full": store_full,
    "store without replicas": store_without_replicas,
    "store read only": store_read_only,
    "store forbids": store_forbids,
    "store forgets scripts": store_forgets_scripts,
    "disk full": disk_full,
    "connections reset": connections_reset,
    "messages delivered twice": message_delivered_twice,
    "replies late": replies_late,
    "replies lost": replies_lost,
    "requests lost": requests_lost,
    "requests repeated": requests_repeated,
    "one script refused": one_script_refused,
    "one process refused": one_process_refused,
    "one process cut off": one_process_cut_off,
    "lookups fail": lookups_fail,
    "payloads refuse": payloads_refuse,
    "payloads away": payloads_away,
    "worker kill -9 between payload and record": worker_killed_between_payload_and_record,
}
# What the version before (23 November 2026) was made to bear: it still streams a page twice where the store repeats a
# request, which is no fault of a mixed deployment.
OLD_FAULTS: Final = (
    "worker kill -9", "worker frozen, then kill -9", "worker paused beyond its lease", "worker TERM", "gateway kill -9",
    "sender kill -9", "store kill -9", "store frozen", "connections reset", "messages delivered twice",
)  # fmt: skip


class Breaker:
    """Every fault once in a random order, then again."""

    def __init__(self, stack: ChaosStack, names: Iterable[str] = FAULTS) -> None:
        self._stack, self._names = stack, sorted(names)
        self._next: list[str] = []

    async def break_something(self) -> None:
        if not self._next:
            self._next = self._stack.rng.sample(self._names, len(self._names))
        name = self._next.pop()
        self._stack.counts[name] += 1
        with contextlib.suppress(redis.RedisError):  # the fault before has the store at this moment
            await FAULTS[name](self._stack)
