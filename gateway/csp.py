"""Every Content-Security-Policy that the gateway sends."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

HEADER: Final = "Content-Security-Policy"
NO_PAGE: Final = "default-src 'none'; frame-ancestors 'none'"
"""For answers that are no page: JSON, events, pictures, downloads."""
API_PAGE: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)
"""For Swagger UI, which writes its own start into the page."""
WEB_PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For the web page: its own files, and pictures that it fetched with the key."""
PROBLEM_PAGE: Final = "default-src 'none'; style-src 'unsafe-inline'"


def document_page(style: str) -> str:
    """The policy of a page made from an upload: no script, this one style sheet, pictures of the same origin."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
