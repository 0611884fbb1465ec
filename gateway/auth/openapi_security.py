"""OpenAPI security schemes and the 401/429 responses."""

from __future__ import annotations

from typing import Any, Final

from gateway.api.problems import answers

SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same, as a header of its own"},
    "token": {"type": "apiKey", "in": "query", "name": "token", "description": "reads one job for a few minutes"},
}
KEY_SCHEMES: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"key": []}, {}]  # {}: while there are no keys
READING_SCHEMES: Final[list[dict[str, list[str]]]] = [*KEY_SCHEMES, {"token": []}]
GUARDED: Final = ("/api/", "/v1/", "/process")


def guarded(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemes to the document, in place. Adding them twice changes nothing."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        if path.startswith(GUARDED):
            for method, operation in operations.items():
                operation["security"] = READING_SCHEMES if method == "get" and "{job_id}" in path else KEY_SCHEMES
                for status, answer in answers(401, 429).items():
                    operation["responses"].setdefault(str(status), answer)
        else:
            for operation in operations.values():
                operation["security"] = []
    return document
