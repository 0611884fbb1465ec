"""What a file is, by its first bytes; its name has no say."""

from __future__ import annotations

import struct
from importlib.util import find_spec

PDF, JPEG, PNG, WEBP, TIFF = "application/pdf", "image/jpeg", "image/png", "image/webp", "image/tiff"
GIF, BMP, AVIF, HEIC, JP2 = "image/gif", "image/bmp", "image/avif", "image/heic", "image/jp2"
PILLOW_FORMATS = {
    JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP", TIFF: "TIFF", GIF: "GIF", BMP: "BMP", AVIF: "AVIF", HEIC: "HEIF",
    JP2: "JPEG2000",
}  # fmt: skip
EXTENSIONS = {
    "jpg": JPEG, "jpeg": JPEG, "png": PNG, "webp": WEBP, "tif": TIFF, "tiff": TIFF, "pdf": PDF, "gif": GIF, "bmp": BMP,
    "avif": AVIF, "heic": HEIC, "heif": HEIC, "jp2": JP2, "j2k": JP2,
}  # fmt: skip
PDF_HEADER_WITHIN = 1024  # bytes; what PDF readers allow before the header
_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JP2),
    (b"\xff\x4f\xff\x51", JP2),  # a bare codestream
)
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})  # bytes of the header after the file's own: the versions
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


def media_type(head: bytes) -> str | None:
    """The type whose mark stands in ``head`` (the file's first KiB is enough), or None."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:2] == b"BM" and len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in _BMP_HEADERS:
        return BMP
    return PDF if b"%PDF-" in head[:PDF_HEADER_WITHIN] else None


def _iso_media(head: bytes) -> str | None:
    """AVIF or HEIC by the brands of the file type box (ISO/IEC 14496-12): one after its header, then more."""
    end = min(len(head), struct.unpack_from(">I", head)[0])
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return AVIF
    return HEIC if brands & _HEIC_BRANDS else None


def can_read(kind: str) -> bool:
    """Whether this installation has a decoder: only HEIC needs a package of its own (the extra ``heic``)."""
    return kind != HEIC or find_spec("pi_heif") is not None


def allowed_types(extensions: tuple[str, ...]) -> frozenset[str]:
    """Media types of a setting's extensions; ``ValueError`` names one that nothing here can read."""
    if unknown := [name for name in extensions if name.lower().lstrip(".") not in EXTENSIONS]:
        raise ValueError(f"no reader for the extensions {', '.join(unknown)}; known: {', '.join(EXTENSIONS)}")
    return frozenset(EXTENSIONS[name.lower().lstrip(".")] for name in extensions)


def readable(extensions: tuple[str, ...]) -> list[str]:
    """Those of a setting's extensions whose files this installation can decode."""
    return [name for name in extensions if can_read(EXTENSIONS[name.lower().lstrip(".")])]
