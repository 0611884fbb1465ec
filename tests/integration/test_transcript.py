"""The commands of README and quickstart, run as they stand: they succeed, and answer in the shape that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.processes import Gateway, Worker
from tools.transcript import BLOCK, PAGES, Shell, steps
from tools.valkey import Valkey


@pytest.fixture(scope="module")
def url(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("transcript")
    valkey_server.client.flushall()
    gateway, worker = Gateway(folder, valkey_server.url), Worker(folder, valkey_server.url)
    gateway.wait_ready()
    worker.wait_ready()
    yield gateway.url
    worker.stop()
    gateway.stop()


def shape(output: str) -> tuple[list[str], set[str], set[str], bool]:
    """Status lines, members of JSON, names of headers and events, and whether there is anything at all."""
    return (
        re.findall(r"^HTTP.*|^\d{3}$", output, re.MULTILINE),
        set(re.findall(r'"(\w+)":', output)),
        set(re.findall(r"^([a-z-]+): ", output, re.MULTILINE)),
        bool(output.strip()),
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_answer_as_shown(page: Path, url: str) -> None:
    shell = Shell(url)
    shown = [step for block in BLOCK.findall(page.read_text()) for step in steps(block)]
    assert len(shown) > 3
    for command, output in shown:
        assert shape(shell.run(command)[1]) == shape(output), command
