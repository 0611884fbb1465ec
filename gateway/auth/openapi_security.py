"""What the OpenAPI document says of the door: how a key is sent, and what whoever has none is told."""

from __future__ import annotations

from typing import Any, Final

from gateway.api.problems import answers

SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same, as a header of its own"},
    "token": {"type": "apiKey", "in": "query", "name": "token", "description": "reads one job for a few minutes"},
}
NEEDED: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"key": []}, {}]  # {}: where no keys were made
READING: Final[list[dict[str, list[str]]]] = [*NEEDED, {"token": []}]


def guarded(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the door in it; given its own result, it changes nothing."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        if path.startswith("/api/"):
            for method, operation in operations.items():
                operation["security"] = READING if method == "get" and "{job_id}" in path else NEEDED
                for status, answer in answers(401, 429).items():
                    operation["responses"].setdefault(str(status), answer)
    return document
