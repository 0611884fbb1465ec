"""What some tests need of the machine: skipped where it is missing, but not where ``CI=true``."""

from __future__ import annotations

import os

import pytest

CI = os.environ.get("CI") == "true"


def needs(there: object, what: str) -> pytest.MarkDecorator:
    """A mark: skipped where ``what`` is not there; under CI the test runs, and fails for want of it."""
    return pytest.mark.skipif(not there and not CI, reason=f"{what} is not here")
