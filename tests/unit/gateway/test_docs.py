"""docs/api.md and the code say the same, in both directions."""

from __future__ import annotations

import re

import pytest

from gateway.api.forms import FIELDS, WEBHOOK_EVENTS
from gateway.api.problems import STATUS
from gateway.app import create_app
from gateway.formats.registry import FORMATS
from shared.contract.events import EventName
from shared.contract.view import JobView
from tests.conftest import make_settings
from tools.valkey import ROOT

TEXT = (ROOT / "docs" / "api.md").read_text()
INSIDE = {"inference-failed", "render-failed", "render-timeout", "render-memory", "engine-dead"}


def section(title: str) -> str:
    return re.split(r"^## ", TEXT, flags=re.MULTILINE)[[*titles()].index(title) + 1]


def titles() -> list[str]:
    return re.findall(r"^## (.+)$", TEXT, re.MULTILINE)


def first_column(title: str) -> set[str]:
    """The first words in backticks of the section's table rows."""
    return set(re.findall(r"^\| `([^`]+)`", section(title), re.MULTILINE))


@pytest.fixture(scope="module")
def schema() -> dict[str, dict[str, object]]:
    paths: dict[str, dict[str, object]] = create_app(make_settings("redis://unused")).openapi()["paths"]
    return paths


def test_every_route_is_in_the_table_and_the_reverse(schema: dict[str, dict[str, object]]) -> None:
    routes = {f"{method.upper()} {path}" for path, methods in schema.items() for method in methods}
    assert first_column("Every route") == routes


def test_every_event_is_in_the_table_and_the_reverse() -> None:
    assert first_column("Events") == set(EventName)


def test_every_format_is_in_the_table_and_the_reverse() -> None:
    assert first_column("Formats") == set(FORMATS)


def test_every_field_is_in_the_table_and_the_reverse() -> None:
    assert first_column("Submitting") == set(FIELDS)
    for event in WEBHOOK_EVENTS:
        assert f"`{event}`" in section("Submitting")


def test_every_code_stands_beside_its_status_and_the_reverse() -> None:
    documented: dict[str, int] = {}
    for status, codes in re.findall(r"^\| (\d{3}) \| (.+) \|$", section("Problems"), re.MULTILINE):
        for code in re.findall(r"`([a-z]+(?:-[a-z]+)+|unauthorized|forbidden|internal)`", codes):
            documented.setdefault(code, int(status))
    assert documented == {code: status for code, status in STATUS.items() if code not in INSIDE}
    for code in INSIDE:
        assert f"`{code}`" in section("Problems")


def test_every_member_of_a_job_is_named() -> None:
    for member in JobView.model_fields:
        assert f"`{member}`" in section("The job"), member
