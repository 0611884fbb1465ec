"""Write docs/settings.md from the settings classes: ``python -m tools.settings_page``. A test checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from shared.commandline import no_arguments
from tools.setting_names import sections

PATH = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Environment variables, or lines of `.env` in the folder the process starts in; names without a prefix, case does not
matter. Every process reads the settings of its sections below and passes over the others, so that all share one
`.env`; a name in `.env` that stands in no section is refused at the start, with one line. An engine that does not come
with the service adds settings of its own, whose names begin with `engine_` ([engines](engines.md)). Sizes are bytes,
times seconds; lists are separated by commas. Written by `python -m tools.settings_page`.
"""
TABLE = "| setting | default | meaning |\n|---|---|---|\n"


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple | list):
        value = ",".join(str(part) for part in value)
    return f"`{value}`" if value not in (None, "") else "-"


def allowed(field: FieldInfo) -> str:
    values = [value for value in get_args(field.annotation) if isinstance(value, str)]
    return f" (`{'`, `'.join(values)}`)" if values else ""


def row(name: str, field: FieldInfo) -> str:
    default = shown(field.get_default(call_default_factory=True))
    return f"| `{name}` | {default} | {field.description}{allowed(field)} |\n"


def page() -> str:
    tables = (
        f"\n## {title}\n\n{TABLE}{''.join(row(name, field) for name, field in fields.items())}"
        for title, fields in sections()
    )
    return HEAD + "".join(tables)


if __name__ == "__main__":
    no_arguments("tools.settings_page", __doc__)
    PATH.write_text(page())
