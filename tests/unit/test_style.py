"""Rules of CONTRIBUTING.md that no linter knows: one class for one name, short functions, no metaphors."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tools.valkey import ROOT

MAX_BODY_LINES: Final = 40
MAX_MEDIAN_LINES: Final = {
    "gateway": 5, "worker": 5, "worker/engines": 4, "shared": 3, "client": 3, "DeepSeek-OCR-master": 3, "deploy": 5,
    "tools": 5, "benchmarks": 5, "tests": 5,
}  # fmt: skip
OLD_CODE: Final = (
    "tests/fixtures/write_store.py"  # it runs in a checkout of an older version, and stays as it ran there
)

# In brackets, so that a search for the words does not find this file.
METAPHORS: Final = re.compile(r"\b(h[o]use|d[o]or|b[e]nch|o[u]tflow|w[i]shes|t[a]ke_in)\b", re.IGNORECASE)
TARGET: Final = re.compile(r"\bmake b[e]nch\b")  # the name that targets for measurements have in many projects


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    files = (name for name in tracked() if name.endswith(".py"))
    return tuple((name, ast.parse((ROOT / name).read_text("utf-8"))) for name in files)


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def functions() -> Iterator[tuple[str, str, int]]:
    """File, name and lines of the body of every function in the repository."""
    for file, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and file != OLD_CODE:
                yield file, node.name, body_lines(node)


def room(file: str) -> str:
    return "worker/engines" if file.startswith("worker/engines/") else Path(file).parts[0]


def test_no_two_classes_share_a_name() -> None:
    owners = defaultdict(list)
    for file, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                owners[node.name].append(f"{file}:{node.lineno}")
    assert {name: places for name, places in owners.items() if len(places) > 1} == {}


def test_function_bodies_are_short() -> None:
    assert [found for found in functions() if found[2] > MAX_BODY_LINES] == []


def test_most_functions_are_very_short() -> None:
    lines = defaultdict(list)
    for file, _, length in functions():
        lines[room(file)].append(length)
    medians = {name: statistics.median(found) for name, found in lines.items()}
    assert {name: median for name, median in medians.items() if median > MAX_MEDIAN_LINES[name]} == {}


def test_words_of_the_first_version_are_gone() -> None:
    found = []
    for name in tracked():
        if name == "Makefile" or name.startswith("benchmarks/"):
            continue
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:  # a picture or a document
            continue
        for number, line in enumerate([name.replace("_", " "), *text.splitlines()]):
            found += [f"{name}:{number} {word[0]}" for word in METAPHORS.finditer(TARGET.sub("", line))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f(): return 1", 1),
        ('def f():\n    """Doc\n\n    string."""\n    x = 1\n\n    return x', 3),
        ('async def f(\n    a,\n):\n    """Doc."""', 0),
    ],
)
def test_a_body_is_what_stands_beside_signature_and_docstring(source: str, lines: int) -> None:
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    assert body_lines(function) == lines
