"""The docs against the code: settings, scripts, tests, files and decisions that are named exist, and the reverse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.setting_names import sections
from tools.settings_page import page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = sorted([*DOCS.glob("*.md"), *(DOCS / "decisions").glob("*.md"), ROOT / "README.md"])


def test_settings_page_is_what_the_code_says() -> None:
    assert (DOCS / "settings.md").read_text() == page(), "run: python -m tools.settings_page"


def test_every_setting_has_a_meaning() -> None:
    assert [name for _, fields in sections() for name, field in fields.items() if not field.description] == []


def test_every_script_of_the_store_is_in_the_architecture_and_the_reverse() -> None:
    table = (DOCS / "architecture.md").read_text()
    named = {name for row in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.M) for name in re.findall(r"\w+", row)}
    scripts = {path.stem for path in (ROOT / "shared" / "lua").glob("*.lua")} - {"common"}
    scripts = {name for name in scripts if not name.startswith(("hook", "key", "rate"))}
    assert named >= scripts
    assert all((ROOT / "shared" / "lua" / f"{name}.lua").exists() for name in named & {"submit", *scripts})


def test_every_test_that_the_reliability_page_names_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (DOCS / "reliability.md").read_text())
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_every_file_and_link_that_is_named_exists(text: Path) -> None:
    words = text.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", words) if "://" not in link]
    paths = re.findall(r"`((?:gateway|worker|shared|tests|docs|deploy|benchmarks|ocr-client)/[\w./-]+)`", words)
    assert [link for link in links if not (text.parent / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists() and not path.endswith(".env")] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
