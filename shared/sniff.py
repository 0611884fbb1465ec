"""What a file is, by its first bytes; its name has no say."""

from __future__ import annotations

PDF, JPEG, PNG, WEBP, TIFF = "application/pdf", "image/jpeg", "image/png", "image/webp", "image/tiff"
PILLOW_FORMATS = {JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP", TIFF: "TIFF"}
EXTENSIONS = {"jpg": JPEG, "jpeg": JPEG, "png": PNG, "webp": WEBP, "tif": TIFF, "tiff": TIFF, "pdf": PDF}
PDF_HEADER_WITHIN = 1024  # bytes; what PDF readers allow before the header
_MAGIC = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
)


def media_type(head: bytes) -> str | None:
    """The type whose mark stands in ``head`` (the file's first KiB is enough), or None."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    return PDF if b"%PDF-" in head[:PDF_HEADER_WITHIN] else None


def allowed_types(extensions: tuple[str, ...]) -> frozenset[str]:
    """Media types of a setting's extensions; ``ValueError`` names one that nothing here can read."""
    if unknown := [name for name in extensions if name.lower().lstrip(".") not in EXTENSIONS]:
        raise ValueError(f"no reader for the extensions {', '.join(unknown)}; known: {', '.join(EXTENSIONS)}")
    return frozenset(EXTENSIONS[name.lower().lstrip(".")] for name in extensions)
