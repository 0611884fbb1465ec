"""``python -m tools.env_example > .env.example``: every setting with its default, from the settings classes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import SecretStr

from shared.commandline import no_arguments
from tools.setting_names import sections

HEAD = "# Every setting and its default. Copy this file to .env and keep what you change; unknown names are refused.\n"


def render() -> str:
    return HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    for title, fields in sections():
        yield f"\n# -- {title}\n"
        for name, field in fields.items():
            yield f"\n# {field.description}\n"
            yield f"# {name.upper()}=\n" if field.default is None else f"{name.upper()}={_plain(field.default)}\n"


def _plain(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


if __name__ == "__main__":
    no_arguments("tools.env_example", __doc__)
    sys.stdout.write(render())
