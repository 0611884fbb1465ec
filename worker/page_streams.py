"""The streams that a PDF page is drawn from, and whether each can be unpacked to its end.

PDFium draws what it can unpack and is silent about the rest. It does not show a page's streams either, so it is asked
to write the page into a file of its own: there they lie one after the other, without encryption.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pypdfium2 import PdfDocument, PdfiumError

KNOWN = frozenset({
    b"FlateDecode", b"Fl", b"LZWDecode", b"LZW", b"ASCII85Decode", b"A85", b"ASCIIHexDecode", b"AHx",
    b"RunLengthDecode", b"RL", b"Crypt",
})  # fmt: skip
"""Filters that drawing instructions may be packed by."""

FLUSHED = b"\0\0\xff\xff"
"""What an encoder ends with that writes all it has and leaves the stream open."""

MOST = 64 << 20
"""Bytes of unpacked instructions beyond which nobody looks any further."""

TAIL = 1 << 16
"""Bytes at the end of instructions in which the last text is looked for."""

_ENTRY = re.compile(rb"(\d{10}) \d{5} n")
_REFERENCE = re.compile(rb"(\d+) 0 R")
_FILTERS = re.compile(rb"/Filter\s*(\[[^\]]*\]|/[^\s/<>\[\]]+|(\d+) 0 R)")
_NAME = re.compile(rb"/([^\s/<>\[\]]+)")
_CONTENTS = re.compile(rb"/Contents\s*(\[[^\]]*\]|\d+ 0 R)")
_DRAWN = re.compile(rb"/Subtype\s*/Form\b|/PatternType 1\b")
_GLYPHS = re.compile(rb"/CharProcs\s*(<<[^>]*>>|\d+ 0 R)")
_PAGE = re.compile(rb"/Type\s*/Page\b")
_TEXT = re.compile(rb"(?<![^\s\])>])(?:BT|ET|Q)(?![^\s/(\[<])")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a file: its dictionary, and its stream as it is packed, if it has one."""

    head: bytes
    stream: bytes | None


def cut_off(document: Any, number: int) -> bool:
    """Whether instructions by which page ``number`` (from 1) is drawn are damaged, or cut off before their end.

    Of a page that PDFium cannot write out nothing is said.
    """
    try:
        objects = written(document, number)
    except PdfiumError:
        return False
    contents = [unpacked(objects[i], objects) for i in contents_of(objects)]
    others = [unpacked(one, objects) for one in drawn_by(objects)]
    whole = [part[-TAIL:] for part in contents if part is not None]
    return None in contents or None in others or ends_in_text(b"\n".join(whole))


def ends_in_text(instructions: bytes) -> bool:
    """Whether instructions break off while they write: what begins text has no counterpart."""
    begun = _TEXT.findall(instructions, max(0, len(instructions) - TAIL))
    return bool(begun) and begun[-1] == b"BT"


def written(document: Any, number: int) -> dict[int, StoredObject]:
    """The objects of page ``number`` by their numbers in a file of its own; raises ``PdfiumError``."""
    with closing(PdfDocument.new()) as alone, BytesIO() as file:
        alone.import_pages(document, [number - 1])
        alone.save(file)
        return objects_of(file.getvalue())


def objects_of(data: bytes) -> dict[int, StoredObject]:
    """The objects of a file as PDFium writes it: with one table of their places, from 0 on, at its end."""
    table = data.rindex(b"xref", 0, data.rindex(b"startxref"))
    places = [int(place) for place in _ENTRY.findall(data, table)]
    ends = dict(zip(sorted(places), [*sorted(places)[1:], table], strict=True))
    found = {}
    for place in places:
        body = data[place : ends[place]]
        number, _, rest = body.partition(b" 0 obj")
        head, _, stream = rest.partition(b">>stream\r\n")
        end = stream.rfind(b"\r\nendstream")
        found[int(number)] = StoredObject(head, stream[:end] if end >= 0 else None)
    return found


def contents_of(objects: Mapping[int, StoredObject]) -> list[int]:
    """The streams that the page is drawn from, in their order."""
    pages = [one for one in objects.values() if one.stream is None and _PAGE.search(one.head)]
    given = [match[1] for one in pages if (match := _CONTENTS.search(one.head))]
    return [number for text in given for number in _streams(text, objects)]


def drawn_by(objects: Mapping[int, StoredObject]) -> Iterator[StoredObject]:
    """The forms, patterns and glyphs that a page's contents may draw."""
    glyphs = {
        number
        for one in objects.values()
        if one.stream is None
        for given in _GLYPHS.finditer(one.head)
        for number in _streams(given[1], objects)
    }
    for number, one in objects.items():
        if one.stream is not None and (number in glyphs or _DRAWN.search(one.head)):
            yield one


def _streams(text: bytes, objects: Mapping[int, StoredObject]) -> Iterator[int]:
    """The streams that are referred to, also by an array or dictionary among what is referred to."""
    for number in map(int, _REFERENCE.findall(text)):
        one = objects.get(number)
        if one is not None and one.stream is not None:
            yield number
        elif one is not None:
            yield from (
                i for i in map(int, _REFERENCE.findall(one.head)) if i in objects and objects[i].stream is not None
            )


def unpacked(one: StoredObject, objects: Mapping[int, StoredObject]) -> bytes | None:
    """The instructions in a stream, as far as their packing says where it ends; None where that is damaged."""
    filters = filters_of(one.head, objects)
    data = one.stream or b""
    if not KNOWN.issuperset(filters):
        return None
    for name in filters if data else ():
        if name not in UNPACK:
            return b""
        try:
            data = UNPACK[name](data)
        except (ValueError, zlib.error):
            return None
    return data


def filters_of(head: bytes, objects: Mapping[int, StoredObject]) -> list[bytes]:
    given = _FILTERS.search(head)
    if not given:
        return []
    elsewhere = objects.get(int(given[2])) if given[2] else None
    return _NAME.findall(elsewhere.head if elsewhere else given[1])


def _from_hex(text: bytes) -> bytes:
    digits = b"".join(text.split(b">")[0].split())
    return bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode("ascii"))


def _from_ascii85(text: bytes) -> bytes:
    return base64.a85decode(text.split(b"~")[0].removeprefix(b"<~"))


def _inflated(data: bytes) -> bytes:
    """What zlib packed, ``MOST`` bytes at most. Raises ``ValueError`` or ``zlib.error`` where it does not come to its
    end; a wrong checksum behind it hurts nobody."""
    if len(data) < 2 or data[0] & 15 != zlib.DEFLATED or (data[0] << 8 | data[1]) % 31:
        raise ValueError("the data do not begin as zlib's do")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    found = unpacker.decompress(data[2:], MOST)
    if not unpacker.eof and len(found) < MOST and not data.rstrip(b"\r\n").endswith(FLUSHED):
        raise ValueError("the data end before their end")
    return found


UNPACK: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"FlateDecode": _inflated, b"Fl": _inflated,
    b"ASCII85Decode": _from_ascii85, b"A85": _from_ascii85,
    b"ASCIIHexDecode": _from_hex, b"AHx": _from_hex,
}  # fmt: skip
"""The filters that say where they end."""
