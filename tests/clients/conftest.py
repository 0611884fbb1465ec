"""What the tests know of the service; they run in an environment without its packages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Service:
    url: str
    key: str
    openapi: Path
    sample: Path = ROOT / "docs" / "sample.pdf"

    @staticmethod
    def check(*pages: str) -> None:
        """These are the two pages of the sample."""
        assert len(pages) == 2
        assert "Harbour Library" in pages[0] and "| Charts" in pages[0]
        assert "Library rules" in pages[1]


@pytest.fixture(scope="session")
def service() -> Service:
    return Service(os.environ["OCR_TEST_URL"], os.environ["OCR_TEST_KEY"], Path(os.environ["OCR_TEST_OPENAPI"]))
