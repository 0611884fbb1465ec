"""The table of keys in ``docs/architecture.md``, from ``shared/store/keyspace.py``: ``python -m tools.key_table``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shared.commandline import no_arguments
from shared.store.keyspace import KEYS, Key

PAGE: Final = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- keys: made by tools/key_table.py -->\n", "<!-- end of keys -->\n"


def table() -> str:
    """Every key of the store: its name there, in code, what it holds and until when."""
    rows = [_row(name, key) for name, key in KEYS.items()]
    return "".join(["| in Redis | in code | holds | until |\n", "|---|---|---|---|\n", *rows])


def _row(name: str, key: Key) -> str:
    title = key.title.replace("\x06", r"\x06").replace("\x16", r"\x16")
    return f"| `{title}` | `{name}` | {key.holds} | {key.until} |\n"


def page(text: str) -> str:
    """The page with its table as it must be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table() + END + tail


if __name__ == "__main__":
    no_arguments("tools.key_table", __doc__)
    PAGE.write_text(page(PAGE.read_text()))
