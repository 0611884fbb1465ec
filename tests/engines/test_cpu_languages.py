"""The languages that ``/models`` names: the recogniser has every letter of each."""

from __future__ import annotations

import pytest

from worker.engines.cpu.languages import LANGUAGES
from worker.engines.cpu.recognition import TextModels


@pytest.fixture(scope="module")
def letters() -> frozenset[str]:
    return TextModels().letters


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_letter_is_known(letters: frozenset[str], language: str) -> None:
    both = LANGUAGES[language] + "".join(c.upper() for c in LANGUAGES[language] if len(c.upper()) == 1)
    assert [letter for letter in both if letter not in letters] == []


@pytest.mark.parametrize("letter", "жшῆاאहกạ한")
def test_letters_of_other_scripts_are_not(letters: frozenset[str], letter: str) -> None:
    assert letter not in letters
