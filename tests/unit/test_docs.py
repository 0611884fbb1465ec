"""The docs against the code: settings, scripts, tests, files and decisions that are named exist, and the reverse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.contract.states import (
    JOB_ARROWS,
    PAGE_ARROWS,
    WEBHOOK_ARROWS,
    DocumentedEnum,
    JobStatus,
    PagePhase,
    PageStatus,
    WebhookStatus,
)
from shared.store.scripts import script_names
from tools import key_table
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
    text = (DOCS / "architecture.md").read_text()
    rows = text[text.index("| script | does |") :].partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == script_names()


def test_the_table_of_keys_is_what_the_code_says() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert text == key_table.page(text), "run: python -m tools.key_table"


MACHINES = {"Job": JOB_ARROWS, "Page": PAGE_ARROWS, "Webhook": WEBHOOK_ARROWS}
STATES: dict[str, tuple[type[DocumentedEnum], ...]] = {
    "Job": (JobStatus,), "Page": (PagePhase, PageStatus), "Webhook": (WebhookStatus,),
}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_the_lifecycle_draws_every_arrow_and_says_what_every_state_is(machine: str) -> None:
    text = (DOCS / "job-lifecycle.md").read_text()
    part = text[text.index(f"## {machine}") :].removeprefix("##").partition("\n## ")[0]
    drawn = re.findall(r"^    (\S+) --> (\S+): (.+)$", part, re.M)
    arrows = {(_state(before), _state(after)): why for before, after, why in drawn if after != "[*]"}
    assert arrows == dict(MACHINES[machine])
    states = {state: state.__doc__ for kind in STATES[machine] for state in kind}
    assert dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", part, re.M)) == states
    leads_on = {before for before, _ in MACHINES[machine]}
    assert {_state(before) for before, after, _ in re.findall(r"^    (\S+) --> (\[\*\])()$", part, re.M)} == {
        state for state in states if state not in leads_on
    }


def _state(drawn: str) -> str:
    return "" if drawn == "[*]" else drawn


def test_every_test_that_the_reliability_page_names_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", (DOCS / "reliability.md").read_text())
    assert len(named) > 20
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.name)
def test_every_file_and_link_that_is_named_exists(text: Path) -> None:
    words = text.read_text()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", words) if "://" not in link]
    paths = re.findall(r"`((?:gateway|worker|shared|tests|docs|deploy|benchmarks|client)/[\w./-]+)`", words)
    assert [link for link in links if not (text.parent / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists() and not path.endswith(".env")] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))
