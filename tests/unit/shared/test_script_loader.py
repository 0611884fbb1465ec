"""Putting Lua scripts together: includes, names that Python owns, and what is wrong with a script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.contract.events import STORED_EVENTS, EventName
from shared.contract.record import STORED_FIELDS
from shared.contract.states import JobStatus, PageStatus
from shared.store import script_digest
from shared.store.keyspace import KEYS, Counter
from shared.store.scripts import ScriptError, ScriptLoader, constants, script_names, script_text
from tools.valkey import ROOT, Valkey

LUA = ROOT / "shared" / "lua"
FILES = sorted(LUA.rglob("*.lua"))


def loader(folder: Path, **files: str) -> ScriptLoader:
    """A loader of ``jobs/main.lua`` and some includes."""
    (folder / "jobs").mkdir()
    (folder / "include").mkdir()
    for name, text in files.items():
        (folder / ("jobs" if name == "main" else "include") / f"{name}.lua").write_text(text)
    return ScriptLoader(folder)


def test_an_include_comes_before_its_script_and_once_whoever_asks_for_it(tmp_path: Path) -> None:
    scripts = loader(
        tmp_path,
        main="--- @include b\n--- @include a\nmain()\n",
        a="--- @include c\na()\n",
        b="--- @include c\nb()\n",
        c="c()\n",
    )
    assert scripts.text("main") == "c()\nb()\na()\nmain()\n"


def test_a_missing_include_is_named_with_who_wants_it(tmp_path: Path) -> None:
    scripts = loader(tmp_path, main="--- @include a\n", a="--- @include nowhere\n")
    with pytest.raises(ScriptError, match="a includes nowhere, which there is not"):
        scripts.text("main")


def test_an_include_named_twice_in_one_file_is_refused(tmp_path: Path) -> None:
    scripts = loader(tmp_path, main="--- @include a\n--- @include a\n", a="a()\n")
    with pytest.raises(ScriptError, match="main includes a twice"):
        scripts.text("main")


def test_a_circle_of_includes_is_shown(tmp_path: Path) -> None:
    scripts = loader(tmp_path, main="--- @include a\n", a="--- @include b\n", b="--- @include a\n")
    with pytest.raises(ScriptError, match="main -> a -> b -> a is a circle"):
        scripts.text("main")


def test_an_unknown_script_and_an_unknown_key_are_named(tmp_path: Path) -> None:
    scripts = loader(tmp_path, main="redis.call('GET', keys.nothing(id))\n")
    with pytest.raises(ScriptError, match="there is no script other"):
        scripts.text("other")
    with pytest.raises(ScriptError, match="there is no key nothing"):
        scripts.text("main")


def test_keys_and_states_come_from_python_as_far_as_they_are_used() -> None:
    assert constants("return 1") == ""
    assert constants("keys.counters, keys.batch_jobs(id)") == (
        "local keys = { batch_jobs = function(part1) return 'batch:' .. part1 .. ':jobs' end, counters = 'counters' }\n"
    )
    assert "cancelled = true, failed = true" in constants("TERMINAL_STATUSES[status]")
    assert constants("RANKS") == "local RANKS = { '0', '3', '6' }\n"


def test_lua_and_python_build_the_same_keys(valkey: Valkey) -> None:
    for name, key in KEYS.items():
        parts = [f"p{i}" for i in range(1, len(key.pieces))]
        call = f"({', '.join(f'ARGV[{i}]' for i in range(1, len(parts) + 1))})" if parts else ""
        body = f"return keys.{name}{call}"
        assert valkey.client.eval(constants(body) + body, 0, *parts) == key(*parts).encode(), name


def test_a_script_is_known_by_its_base_name_and_every_one_compiles(valkey: Valkey) -> None:
    for name in script_names():
        assert valkey.client.script_load(script_text(name)) == script_digest(name), name


def test_no_two_scripts_share_a_name() -> None:
    names = [file.stem for file in FILES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name != "include"], ids=lambda file: file.stem)
def test_every_script_says_what_goes_in_and_out_and_names_its_arguments(file: Path) -> None:
    text = file.read_text()
    header = text[: text.index("]]")]
    assert text.startswith("--[[")
    assert "Input:" in header
    assert "Output:" in header
    if "emit(" in text or "append(" in text:
        assert "Events:" in header
    bound = [line for line in text.splitlines() if re.match(r"(local .*=.*ARGV|local operation = ARGV)", line)]
    uses = [line for line in text.splitlines() if re.search(r"ARGV\[\d+\]", line) and line not in bound]
    assert uses == [], "arguments have names, bound at the top"
    assert re.findall(r"\b[a-z]\[\d+\]", text) == [], "fields have names"


def test_no_script_spells_a_key() -> None:
    stored = {key.pieces[0] for key in KEYS.values() if key.pieces[0].endswith(":")}
    for file in FILES:
        text = file.read_text()
        assert re.findall(r"redis\.call\('\w+', '[^']+'", text) == [], file.stem
        if file.stem != "count":
            assert stored.isdisjoint(re.findall(r"'([a-z]+:)[^']*' \.\.", text)), file.stem


def test_scripts_use_no_field_of_a_job_that_the_record_does_not_describe() -> None:
    used: set[str] = set()
    for file in FILES:
        for line in file.read_text().splitlines():
            if re.search(r"(fields|redis\.call)\(.*\b(key|keys\.job\(id\)), '", line) and "webhook" not in file.stem:
                after = re.split(r"\b(?:key|keys\.job\(id\)), ", line, maxsplit=1)[1]
                used |= set(re.findall(r"'([a-z_]+)'", after))
    assert used - {*JobStatus, *PageStatus} <= STORED_FIELDS
    assert len(used) > 20


def test_every_event_that_a_script_emits_has_a_record() -> None:
    text = "".join(file.read_text() for file in FILES)
    calls = re.findall(r"emit\(id, (.*?), (?:\{|event\))", text)
    emitted = set(re.findall(r"'([a-z.]+)'", "".join(calls))) - {PageStatus.FAILED}
    assert emitted == set(STORED_EVENTS) - {EventName.TOKEN}, "the text of pages is what workers tell"


def test_counters_are_spelled_as_in_python() -> None:
    text = (LUA / "include" / "count.lua").read_text()
    names = (Counter.submitted_pages, Counter.finished_pages, Counter.ended, Counter.pages_ended, Counter.webhooks)
    for name in names:
        assert re.search(rf"function {name.__name__}\(\w+\) return '{name('')}' \.\. \w+ end", text), name.__name__
