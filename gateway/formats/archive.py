"""A document as a zip, the same bytes for the same document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from gateway.formats.archive_tables import csv_tables
from gateway.formats.layout import Layout
from gateway.formats.markdown import markdown
from shared.contract.document import Document

_NAME = re.compile(r"\d{1,7}_\d{1,7}\.jpg", re.ASCII)


def as_json(document: Document) -> str:
    return document.model_dump_json()


def archive(document: Document, figures: Mapping[str, bytes], layout: Layout | None = None) -> bytes:
    """``result.md``, ``result.json``, ``images/<name>`` and ``tables/<page>_<i>.csv``.

    Raises ``ValueError`` for a name that is no figure's.
    """
    if wrong := [name for name in figures if not _NAME.fullmatch(name)]:
        raise ValueError(f"not the name of a figure: {wrong[0]!r}")
    buffer = BytesIO()
    with ZipFile(buffer, "w") as out:
        out.writestr(_entry("result.md", ZIP_DEFLATED), markdown(document, layout))
        out.writestr(_entry("result.json", ZIP_DEFLATED), as_json(document))
        for name in sorted(figures, key=lambda name: tuple(map(int, name[:-4].split("_")))):
            out.writestr(_entry(f"images/{name}", ZIP_STORED), figures[name])
        for name, table in csv_tables(document):
            out.writestr(_entry(name, ZIP_DEFLATED), table)
    return buffer.getvalue()


def _entry(name: str, method: int) -> ZipInfo:
    entry = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.external_attr, entry.create_system = method, 0o644 << 16, 3
    return entry
