"""Every script may run twice: random histories on a real server, once as they are and once with repetitions.

The scripts are the product's own, except for their clock: it is a key, so that two runs see the same times. A history
is a list of steps; what a step refers to (a job, a claim, a lease) is taken from what the run has seen so far.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract.record import JobRecord
from shared.contract.states import TERMINAL_STATUSES
from shared.store.keyspace import COUNTERS, JOB, NEXT_CHECK, RANKS, WAITING, Counter
from shared.store.scripts import ScriptLoader, script_names
from tools.valkey import ROOT, Valkey

CLOCK = """local function clock() return tonumber(redis.call('GET', 'clock')) end
local function stamp(seconds) return string.format('%.6f', seconds) end
"""
LEASE = 15
CONTENT, READER = "content", "reader"
Call = tuple[str, tuple[Any, ...]]


@dataclass(repr=False)
class Server:
    """A real server, and the scripts with a clock that a test sets."""

    client: Any
    texts: dict[str, str]


@dataclass
class HistoryClaim:
    job: str
    token: str
    pages: int
    steps: int = 0
    pieces: int = 0

    def step(self) -> int:
        self.steps += 1
        return self.steps

    def piece(self) -> int:
        self.pieces += 1
        return self.pieces


@dataclass
class Run:
    """One history on an empty store. ``repeat``: called after each step with its number and call."""

    server: Server
    repeat: Callable[[Run, int, Call, Any], None]
    now: float = 1_000_000.0
    jobs: dict[str, int] = field(default_factory=dict)  # id -> pages
    claims: list[HistoryClaim] = field(default_factory=list)
    leases: list[tuple[str, str]] = field(default_factory=list)
    log: list[tuple[Call, Any]] = field(default_factory=list)

    def play(self, history: list[tuple[str, int, int]]) -> dict[str, Any]:
        self.server.client.flushall()
        self.server.client.hset("batch:B", "owner", "owner0")
        self.server.client.expire("batch:B", 100_000)
        for number, (kind, which, more) in enumerate(history):
            self.server.client.set("clock", self.now)
            if kind == "tick":
                self.now += (1, 5, LEASE + 1, 400)[more % 4]
            elif (call := self._call(kind, number, which, more)) is not None:
                reply = self.run(call)
                self._learn(call, reply)
                self.log.append((call, reply))
                self.repeat(self, number, call, reply)
        return snapshot(self.server.client)

    def run(self, call: Call) -> Any:
        name, args = call
        return plain(name, self.server.client.eval(self.server.texts[name], 0, *args))

    def _learn(self, call: Call, reply: Any) -> None:
        name, args = call
        if name == "submit" and reply[0] == b"ok":
            self.jobs.setdefault(args[0], args[3])
        elif name == "reuse" and reply[0] == b"ok":
            self.jobs.setdefault(args[0], 1)
        elif name == "claim" and reply[0] == b"ok":
            self.claims.append(HistoryClaim(args[0], args[1], self.jobs[args[0]]))
        elif name == "webhook_take":
            self.leases += [(reply[i].decode(), str(reply[i + 1])) for i in range(0, len(reply), 2)]

    def _call(self, kind: str, number: int, which: int, more: int) -> Call | None:
        if kind == "submit":
            return self._submit(number, which, more)
        if kind == "reuse":
            return self._reuse(number, which, more)
        if kind in OF_CALLERS:
            return kind, OF_CALLERS[kind](number, more)
        if kind in OF_JOBS and self.jobs:
            job = list(self.jobs)[which % len(self.jobs)]
            return kind, OF_JOBS[kind](job, number, more)
        if kind in OF_CLAIMS and self.claims:
            claim = self.claims[-1 - which % len(self.claims)]
            return kind, OF_CLAIMS[kind](claim, number, more)
        if kind in OF_LEASES and self.leases:
            return kind, OF_LEASES[kind](*self.leases[-1 - which % len(self.leases)], number, more)
        return None

    @staticmethod
    def _submit(number: int, which: int, more: int) -> Call:
        pages, rank, key = 1 + which % 3, list(RANKS.values())[more % 3], f"key{more}" if more > 7 else ""
        deadline, quota = "500" if more == 3 else "", "9" if more == 4 else ""
        webhook = (
            "webhook_url",
            "https://example.org/hook",
            "webhook_events",
            "job.started,job.succeeded,job.cancelled",
        )
        fields = (
            "options",
            "{}",
            "metadata",
            "{}",
            "result_ttl",
            86400,
            "picture_ttl",
            ("", 600)[more % 2],
            "max_age",
            100_000,
            *webhook,
        )
        said = (
            "filename", "a", "media_type", "image/png", "sha256", "0", "document_pages", pages, "page_range", "1",
            "content", CONTENT,
        )  # fmt: skip
        batch = "B" if more == 5 else ""
        return "submit", (
            f"J{number}", b"upload", "message", pages, 6, rank, f"owner{more % 2}", key, "print", 86400, batch,
            4, 9, 1000, 20, deadline, 200_000, quota, *fields, *said,
        )  # fmt: skip

    @staticmethod
    def _reuse(number: int, which: int, more: int) -> Call:
        key, batch = f"key{more}" if more > 7 else "", "B" if more == 5 else ""
        said = (
            "filename", "a", "media_type", "image/png", "sha256", "0", "document_pages", 1, "page_range", "1",
            "options", "{}", "metadata", "{}", "result_ttl", 86400, "picture_ttl", ("", 600)[which % 2], "max_age", 9,
            "content", CONTENT, "webhook_url", "https://example.org/hook", "webhook_events", "job.succeeded",
        )  # fmt: skip
        return "reuse", (
            f"J{number}", CONTENT, READER, f"owner{more % 2}", key, "print", 86400, batch, 6, "3", 200_000, *said,
        )  # fmt: skip


def _page_end(claim: HistoryClaim, number: int, more: int) -> tuple[Any, ...]:
    page, status = 1 + more % claim.pages, ("ok", "ok", "degraded", "failed")[more % 4]
    summary = json.dumps({"number": page, "status": status, "reason": None, "attempts": 1})
    figures = ("1_0.jpg", b"jpeg") if more % 2 else ()
    return (
        claim.job,
        claim.token,
        page,
        claim.step(),
        status,
        f"result {number}" if more % 3 else "",
        summary,
        f"{claim.token} rp" if more % 2 else "",
        b"webp",
        1,
        2,
        0.5,
        *figures,
    )


OF_CALLERS: dict[str, Callable[[int, int], tuple[Any, ...]]] = {
    "rate": lambda number, more: (f"owner{more % 2}", 3600, 3, "9" if more % 3 else "", f"rate-{number}"),
    "sweep": lambda _number, _more: (),
    "engine_started": lambda _number, more: (f"worker-{more % 3}",),
    "webhook_take": lambda number, more: (10, 30, 3, 2, 2, 3, f"take-{number}"),
    "webhook_secret": lambda number, more: (f"owner{more % 2}", f"s{number}", ("keep", "rotate")[more % 2], 86400),
}
OF_JOBS: dict[str, Callable[[str, int, int], tuple[Any, ...]]] = {
    "view": lambda job, _number, more: (job, more % 2),
    "cancel": lambda job, number, _more: (job, f"cancel-{number}"),
    "delete": lambda job, _number, _more: (job,),
    "drop_payloads": lambda job, _number, _more: (job, job),
    "forget_pictures": lambda job, _number, _more: (job,),
    "claim": lambda job, number, _more: (job, f"token-{number}", "worker", LEASE),
    "tell_again": lambda job, _number, _more: (job, "message", 60),
    "reprioritise": lambda job, _number, more: (job, list(RANKS.values())[more % 3], "low", "message"),
    "reap": lambda job, number, _more: (job, "message", 20, f"reap-{number}"),
    "webhook_again": lambda job, number, more: (
        f"msg_{job}_{('started', 'succeeded')[more % 2]}",
        2,
        f"again-{number}",
    ),
}
OF_CLAIMS: dict[str, Callable[[HistoryClaim, int, int], tuple[Any, ...]]] = {
    "start": lambda claim, _number, more: (claim.job, claim.token, "instant", ("", READER)[more < 8]),
    "renew": lambda claim, _number, _more: (LEASE, claim.job, claim.token),
    "page_start": lambda claim, _number, more: (claim.job, claim.token, 1 + more % claim.pages, claim.step(), 0.25),
    "page_stop": lambda claim, _number, more: (claim.job, claim.token, 1 + more % claim.pages, claim.step(), more % 2),
    "page_end": _page_end,
    "stream": lambda claim, _number, more: (
        claim.job, claim.token, claim.piece(), "token", json.dumps({"page": 1 + more % claim.pages, "text": "more"}),
    ),
    "finish": lambda claim, _number, _more: (claim.job, claim.token),
    "fail": lambda claim, _number, _more: (claim.job, claim.token, "internal", "why"),
    "release": lambda claim, _number, more: (claim.job, claim.token, "message", 20, more % 2),
}  # fmt: skip
OF_LEASES: dict[str, Callable[[str, str, int, int], tuple[Any, ...]]] = {
    "webhook_begin": lambda hook, token, number, _more: (hook, token, 30, f"begin-{number}"),
    "webhook_body": lambda hook, token, _number, _more: (hook, token, b"body"),
    "webhook_end": lambda hook, token, _number, more: (
        hook, token, ("delivered", "failed", "gone")[more % 3], 500, "", 0.1, ("", "5")[more % 2], 2, 30, 600,
    ),
}  # fmt: skip
KINDS = ["submit", "reuse", *OF_CALLERS, *OF_JOBS, *OF_CLAIMS, *OF_LEASES]
# Real work is likelier than what ends it at once.
WEIGHTED = ["tick", *KINDS, *(["submit", "claim", "start", "page_start", "page_end", "stream", "webhook_take"] * 3)]
STEP = st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 9), st.integers(0, 9))
# What only ever brings a state about, or looks at the moment: late, it is a new look and not a repetition. So is a
# call of webhook_take that found nothing, and one of reuse.
LEVEL = {"renew", "view", "sweep", "reap", "webhook_again"}


def plain(name: str, reply: Any) -> Any:
    """A reply without the order in which Redis gives the fields of a hash."""
    if name == "webhook_begin" and isinstance(reply, list):
        return _record(pairs(reply))
    if name in ("submit", "reuse"):
        return reply[:2]  # the view comes with the first answer alone
    if name in ("claim", "view"):
        parts = reply if isinstance(reply, list) else [reply]
        return [_hashes(json.loads(part)) if part.startswith(b"[") else part for part in parts]
    return reply


def _hashes(found: list[Any]) -> list[Any]:
    """What a script says of a job, its hashes without an order."""
    return [
        _record(pairs([text.encode() for text in part])) if isinstance(part, list) and len(part) % 2 == 0 else part
        for part in found
    ]


def pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _record(fields: dict[bytes, Any]) -> dict[bytes, Any]:
    fields.pop(b"done_event", None)  # ids of streams are Redis's own time
    if b"record" in fields:
        flat = json.loads(fields[b"record"])
        fields[b"record"] = dict(zip(flat[::2], flat[1::2], strict=True))
    return fields


READ: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",), b"hash": ("HGETALL",), b"list": ("LRANGE", 0, -1), b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"), b"stream": ("XRANGE", "-", "+"),
}  # fmt: skip


def snapshot(client: Any) -> dict[str, Any]:
    """Everything in the store: of streams the entries without their ids, of expiry whether there is one."""
    names = sorted(client.keys())
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name).ttl(name)
        answers = pipe.execute()
        for name, kind in zip(names, answers[::2], strict=True):
            command, *rest = READ[kind]
            pipe.execute_command(command, name, *rest)
        values = pipe.execute()
    kinds, expiries = answers[::2], answers[1::2]
    return {
        name.decode(): (_plain_value(kind, value), ttl > 0)
        for name, kind, value, ttl in zip(names, kinds, values, expiries, strict=True)
    }


def _plain_value(kind: bytes, value: Any) -> Any:
    if kind == b"hash":
        return _record(dict(value))
    if kind == b"stream":
        return [fields for _, fields in value]
    return dict(value) if kind == b"zset" else sorted(value) if kind == b"set" else value


@pytest.fixture(scope="module")
def server(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lua")
    shutil.copytree(ROOT / "shared" / "lua", folder, dirs_exist_ok=True)
    (folder / "include" / "clock.lua").write_text(CLOCK)
    loader = ScriptLoader(folder)
    client = valkey_server.client
    yield Server(client, {name: loader.text(name) for name in loader.names()})
    client.flushall()


def never(_run: Run, _number: int, _call: Call, _reply: Any) -> None:
    """No repetition."""


def at_once(run: Run, _number: int, call: Call, reply: Any) -> None:
    """The reply was lost, and the call is sent again."""
    assert run.run(call) == reply, call[0]


FEW = settings(max_examples=100, deadline=None)


def test_the_histories_use_every_script_but_the_audits() -> None:
    """Which changes nothing after any history: ``test_counter_audit.py`` breaks things for it, and calls it twice."""
    assert sorted([*KINDS, "audit", "audit_read"]) == script_names()


@FEW
@given(history=st.lists(STEP, min_size=5, max_size=40))
def test_a_history_with_every_call_sent_twice_is_the_history_of_one(
    server: Server, history: list[tuple[str, int, int]]
) -> None:
    once, twice = Run(server, never), Run(server, at_once)
    assert twice.play(history) == once.play(history)
    assert twice.log == once.log


@FEW
@given(history=st.lists(STEP, min_size=5, max_size=40), late=st.integers(1, 25))
def test_a_call_that_comes_again_long_after_changes_nothing(
    server: Server, history: list[tuple[str, int, int]], late: int
) -> None:
    """As from a connection that was given up, whose last command the server reads when others have followed it."""

    def repeat(run: Run, _number: int, _call: Call, _reply: Any) -> None:
        if len(run.log) > late:
            call, reply = run.log[-1 - late]
            if call[0] not in LEVEL and reply not in ([], [b"none", b""]):
                before = snapshot(run.server.client)
                run.run(call)
                assert snapshot(run.server.client) == before, call

    Run(server, repeat).play(history)


@FEW
@given(history=st.lists(STEP, min_size=5, max_size=60))
def test_counters_are_the_sums_of_the_records_after_any_history(
    server: Server, history: list[tuple[str, int, int]]
) -> None:
    found = Run(server, at_once).play(history)
    records = [JobRecord.model_validate(text(value)) for name, (value, _) in found.items() if name.startswith(JOB(""))]
    unfinished = [record for record in records if record.status not in TERMINAL_STATUSES]
    counters = {name: int(value) for name, value in text(found.get(COUNTERS(), ({}, False))[0]).items()}
    left = {record.id: record.pages_total - record.pages_done - record.pages_failed for record in unfinished}
    assert counters.get(Counter.JOBS, 0) == len(unfinished)
    assert counters.get(Counter.PAGES, 0) == sum(left.values())
    assert counters.get(Counter.BYTES, 0) == sum(record.bytes for record in unfinished)
    assert counters.get(Counter.RUNNING, 0) == sum(record.status == "processing" for record in unfinished)
    assert set(text(found.get(NEXT_CHECK(), ({}, False))[0])) == set(left)
    for rank in RANKS.values():
        ahead = counters.get(Counter.submitted_pages(rank), 0) - counters.get(Counter.finished_pages(rank), 0)
        assert ahead == sum(left[record.id] for record in unfinished if record.rank == rank)
        waiting = {record.id for record in unfinished if record.rank == rank and record.status == "queued"}
        assert set(text(found.get(WAITING(rank), ({}, False))[0])) == waiting


def text(fields: dict[bytes, Any]) -> dict[str, Any]:
    return {name.decode(): value.decode() if isinstance(value, bytes) else value for name, value in fields.items()}
