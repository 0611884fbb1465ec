"""Mutation testing of the Lua scripts: change one thing at a time, and see whether a test of the store notices.

    python -m tools.lua_mutants [--only NAME] [--survivors FILE] [--sample N] [--seed S] [--jobs N]

Every file of ``shared/lua`` is mutated: comparisons, arithmetic and logic turned around, whole numbers raised by one,
conditions fixed, statements dropped. A mutant is run, in a process forked from this one, against the tests that ran a
script with this file in it, first those that have killed others of the file; the first test that fails has killed it.
A mutant that Lua cannot compile is none, and one that ``equivalent_mutants.toml`` lists is left out. ``--survivors``:
only those that FILE, the output of an earlier run, says were not noticed. Exit status 1: less than nine in ten were
noticed in some folder.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from shared.store import scripts
from tools.equivalent_mutants import GOAL, Change, differing, equivalent_mutants
from tools.valkey import ROOT, Valkey

LUA: Final = ROOT / "shared" / "lua"
TESTS: Final = (
    "tests/unit/worker/test_claims.py", "tests/unit/worker/webhooks/test_sender.py", "tests/integration/test_store.py",
    "tests/integration/test_store_promises.py", "tests/integration/test_hooks_store.py",
    "tests/unit/shared/store", "tests/integration/test_scripts_twice.py",
    "tests/integration/test_counter_audit.py", "tests/integration/test_lost_replies.py",
    "tests/integration/test_store_bookkeeping.py", "tests/integration/test_reuse_store.py",
    "tests/integration/test_store_moments.py", "tests/integration/test_hooks_moments.py",
)  # fmt: skip
PYTEST: Final = ("-n", "0", "--timeout", "300", "-W", "ignore::pytest.PytestAssertRewriteWarning")
PATIENCE: Final = 5  # a mutant is given so many times what all tests take without one: beyond, it hangs
SWAPS: Final = {
    "==": "~=", "~=": "==", "<=": "<", ">=": ">", "<": "<=", ">": ">=", " + ": " - ", " - ": " + ", " * ": " / ",
    " and ": " or ", " or ": " and ", "not ": "", "true": "false", "false": "true",
}  # fmt: skip
TOKEN: Final = re.compile(
    r"(?P<comment>--\[\[.*?\]\]|--[^\n]*)|(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>(?<![\w.])\d+(?![\w.]))"
    r"|(?P<operator>==|~=|<=|>=|<|>| \+ | - | \* | and | or |\bnot |\btrue\b|\bfalse\b)",
    re.DOTALL,
)
UNPACK: Final = re.compile(r"(unpack\(ARGV, \d+, )(\d+)\)")
CONDITION: Final = re.compile(r"\b(if|elseif) (.+?) then\b")
STATEMENT: Final = re.compile(r"^[ ]*(?:redis\.call|[a-z_]+)\([^\n]*\)(?: --.*)?$", re.MULTILINE)
EARLY_RETURN: Final = re.compile(r"^[ ]*if [^\n]+ then return\b[^\n]* end$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LuaMutant:
    """One change: ``text`` instead of what stands from ``start`` to ``end`` in ``file``."""

    file: Path
    start: int
    end: int
    text: str

    def applied(self) -> str:
        source = self.file.read_text()
        return source[: self.start] + self.text + source[self.end :]

    @property
    def change(self) -> Change:
        lines = differing(self.file.read_text(), self.applied())
        return Change(str(self.file.relative_to(ROOT)), "", *lines)

    def __str__(self) -> str:
        line = self.file.read_text().count("\n", 0, self.start) + 1
        return f"{line}: {self.change}"


def mutants_of(file: Path) -> Iterator[LuaMutant]:
    """Every mutant of one file, those of no effect on its meaning included."""
    source = file.read_text()
    code = TOKEN.sub(lambda found: " " * len(found[0]) if found["comment"] else found[0], source)
    # To read one argument more than there are names for changes nothing.
    ends = {found.start(2) for found in UNPACK.finditer(source)}
    for found in TOKEN.finditer(source):
        if found["number"] and found.start() not in ends:
            yield LuaMutant(file, *found.span(), str(int(found[0]) + 1))
        elif found["operator"]:
            yield LuaMutant(file, *found.span(), SWAPS[found[0]])
        elif found["string"] == "''":
            yield LuaMutant(file, *found.span(), "'mutant'")
    for found in CONDITION.finditer(code):
        for fixed in ("true", "false"):
            yield LuaMutant(file, *found.span(2), fixed)
    for pattern in (STATEMENT, EARLY_RETURN):
        for found in pattern.finditer(code):
            yield LuaMutant(file, *found.span(), "")


class Recorder:
    """A pytest plugin: which tests run which scripts."""

    def __init__(self) -> None:
        self.tests: defaultdict[str, set[str]] = defaultdict(set)
        plain = scripts.Scripts.run

        async def run(its: scripts.Scripts, name: str, *args: Any) -> Any:
            self.tests[name].add(os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0])
            return await plain(its, name, *args)

        scripts.Scripts.run = run  # type: ignore[assignment,method-assign]


def use(folder: Path) -> None:
    """From now on the scripts of this process are those of ``folder``."""
    scripts._loader = scripts.ScriptLoader(folder)  # type: ignore[misc]
    for cached in (scripts.script_text, scripts.script_digest):
        cached.cache_clear()


def users_of(file: Path) -> list[str]:
    """The scripts whose text has this file in it."""
    marker = next(line for line in file.read_text().splitlines() if line and not line.startswith(("--", " ", "]")))
    return [name for name in scripts.script_names() if marker in scripts.script_text(name)]


def overlay(mutant: LuaMutant, folder: Path) -> Path:
    """A copy of all scripts with the mutant in it."""
    copy = folder / "lua"
    shutil.copytree(LUA, copy)
    (copy / mutant.file.relative_to(LUA)).write_text(mutant.applied())
    return copy


def compiles(mutant: LuaMutant, names: list[str], server: redis.Redis) -> bool:
    with tempfile.TemporaryDirectory() as name:
        loader = scripts.ScriptLoader(overlay(mutant, Path(name)))
        try:
            for script in names:
                server.script_load(loader.text(script))
        except (redis.ResponseError, scripts.ScriptError):
            return False
    return True


class FirstFailure:
    """A pytest plugin: write down which test failed."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._file.write_text(report.nodeid)


def start(mutant: LuaMutant, tests: list[str], seconds: int, failure: Path) -> int:
    """Run the tests against the mutant in a process of its own; its id. Exit status 1: one failed, see ``failure``."""
    if child := os.fork():
        return child
    signal.alarm(seconds)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    with tempfile.TemporaryDirectory() as name:
        use(overlay(mutant, Path(name)))
        os._exit(int(pytest.main([*PYTEST, "-x", *tests], plugins=[FirstFailure(failure)])))


def judged(
    mutants: list[LuaMutant], tests: dict[Path, list[str]], jobs: int, seconds: int
) -> Iterator[tuple[LuaMutant, bool]]:
    """Each mutant, as its tests end, and whether one noticed it."""
    running: dict[int, tuple[LuaMutant, Path]] = {}
    waiting, killers = list(mutants), defaultdict[Path, Counter[str]](Counter)
    with tempfile.TemporaryDirectory() as name:
        while waiting or running:
            while waiting and len(running) < jobs:
                mutant = waiting.pop()
                if its := tests[mutant.file]:
                    failure = Path(name) / str(len(waiting))
                    ordered = sorted(its, key=lambda test: -killers[mutant.file][test])
                    running[start(mutant, ordered, seconds, failure)] = mutant, failure
                else:
                    yield mutant, False
            if running:
                pid, status = os.wait()
                mutant, failure = running.pop(pid)
                if failure.exists():
                    killers[mutant.file][failure.read_text()] += 1
                yield mutant, status != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="files whose path contains this")
    parser.add_argument("--survivors", type=Path, help="only those that this output of an earlier run lists")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    recorder, began = Recorder(), time.monotonic()
    if code := pytest.main([*PYTEST, *(test for test in TESTS if (ROOT / test).exists())]):
        return int(code)
    seconds = int(PATIENCE * (time.monotonic() - began)) + 1
    files = [file for file in sorted(LUA.rglob("*.lua")) if options.only in str(file)]
    users = {file: users_of(file) for file in files}
    tests = {file: sorted(set().union(*(recorder.tests[name] for name in users[file]))) for file in files}
    listed = equivalent_mutants()
    chosen = [mutant for file in files for mutant in mutants_of(file) if mutant.change not in listed]
    if options.survivors:
        survived = options.survivors.read_text("utf-8")
        chosen = [mutant for mutant in chosen if str(mutant.change) in survived]
    random.Random(options.seed).shuffle(chosen)
    chosen = compiled(chosen[: options.sample], users)
    verdicts: list[tuple[LuaMutant, bool]] = []
    try:
        verdicts.extend(judged(chosen, tests, options.jobs, seconds))
    except KeyboardInterrupt:
        print(f"stopped after {len(verdicts)} of {len(chosen)}")
    return report(verdicts)


def compiled(mutants: list[LuaMutant], users: dict[Path, list[str]]) -> list[LuaMutant]:
    with tempfile.TemporaryDirectory() as name:
        server = Valkey(Path(name))
        try:
            return [mutant for mutant in mutants if compiles(mutant, users[mutant.file], server.client)]
        finally:
            server.stop()


def report(verdicts: list[tuple[LuaMutant, bool]]) -> int:
    """Print the survivors and the share that was killed in each folder."""
    total, killed = Counter[str](), Counter[str]()
    for mutant, dead in sorted(verdicts, key=lambda verdict: str(verdict[0].file)):
        folder = mutant.file.parent.name
        total[folder] += 1
        killed[folder] += dead
        if not dead:
            print(mutant)
    for folder in sorted(total):
        print(f"{folder}: {killed[folder]} of {total[folder]} noticed, {killed[folder] / total[folder]:.0%}")
    return 0 if all(killed[folder] >= GOAL * total[folder] for folder in total) else 1


if __name__ == "__main__":
    sys.exit(main())
