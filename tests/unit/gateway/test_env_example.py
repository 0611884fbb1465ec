"""The example of settings names every one, and changes none."""

from __future__ import annotations

from tests.settings import Settings
from tools.env_example import render
from tools.valkey import ROOT

EXAMPLE = ROOT / ".env.example"


def test_the_example_is_what_the_settings_make_it() -> None:
    assert EXAMPLE.read_text() == render(), "run: python -m tools.env_example > .env.example"


def test_a_copy_of_it_changes_nothing() -> None:
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)
