"""Write docs/settings.md from ``shared.settings``: ``python -m tools.settings_page``. A test checks that it was run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.settings import Settings

HEAD = """# Settings

Environment variables, or lines of `.env` in the folder the process starts in; names without a prefix, case does not
matter. A name in `.env` that is not in this list is refused at the start, with one line. Sizes are bytes, times
seconds; lists are separated by commas. Written by `python -m tools.settings_page`.

| setting | default | meaning |
|---|---|---|
"""


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple | list):
        value = ",".join(str(part) for part in value)
    return f"`{value}`" if value not in (None, "") else "-"


def allowed(field: FieldInfo) -> str:
    values = [value for value in get_args(field.annotation) if isinstance(value, str)]
    return f" (`{'`, `'.join(values)}`)" if values else ""


def page() -> str:
    rows = [
        f"| `{name}` | {shown(field.get_default(call_default_factory=True))} | {field.description}{allowed(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "settings.md").write_text(page())
