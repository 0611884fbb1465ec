"""Formulas become MathML as long as they may be formulas."""

from __future__ import annotations

import pytest

from gateway.formats.html import mathml
from gateway.formats.parsing import MAX_FORMULA


@pytest.mark.parametrize("display", [True, False])
def test_a_formula_that_is_too_long_to_be_one_is_shown_as_it_is_written(display: bool) -> None:
    assert mathml("x" * 5000, display=display) == f"<code>{'x' * 5000}</code>"
    assert mathml("<" * (MAX_FORMULA + 1), display=display).startswith("<code>&lt;&lt;")


def test_a_long_formula_is_converted_up_to_the_limit() -> None:
    assert mathml("x" * MAX_FORMULA, display=False).startswith("<math")
