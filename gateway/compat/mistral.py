"""Mistral's OCR request and response: the shapes, and the way from our pages to them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import BaseModel, Field, JsonValue, field_validator

from gateway.formats.layout import Layout, text_of
from gateway.formats.markdown import comment
from shared.contract.document import Figure, PageBlock, PageResult, PageStatus
from shared.errors import BadPageRange

IMAGE_LINK: Final = re.compile(r"!\[[^\]]*\]\(images/([^)\s]+)\)")
PAGE_RANGE: Final = re.compile(r"\s*(\d{1,7})\s*(?:-\s*(\d{1,7})\s*)?")
BLOCK_TYPES: Final[Mapping[str, str]] = {
    "title": "title", "sub_title": "title", "text": "text", "list": "list", "table": "table", "image": "image",
    "equation": "equation", "code": "code", "header": "header", "footer": "footer", "page_number": "footer",
    "image_caption": "caption", "table_caption": "caption", "table_footnote": "caption",
}  # fmt: skip
"""Our types of blocks -> theirs; what is not named is ``text``."""
UNKNOWN_DPI: Final = 0  # pages are drawn at a resolution of their own, which is not kept


class ImageUrl(BaseModel):
    url: str


class DocumentUrlChunk(BaseModel):
    type: Literal["document_url"]
    document_url: str = Field(description="a data URI, the URL of a file of `/v1/files`, or a public https URL")
    document_name: str | None = None


class ImageUrlChunk(BaseModel):
    type: Literal["image_url"]
    image_url: str | ImageUrl

    @property
    def url(self) -> str:
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class FileChunk(BaseModel):
    type: Literal["file"]
    file_id: str = Field(max_length=64)


class OcrRequest(BaseModel):
    """Members that are not named here are ignored; those that ask for what the service cannot do are refused."""

    model: str | None = Field(None, description="any: the engine that runs is used")
    document: DocumentUrlChunk | ImageUrlChunk | FileChunk = Field(discriminator="type")
    pages: str | list[int] | None = Field(None, description="from 0: `[0, 1]` or `0-5,7`")
    include_image_base64: bool | None = None
    image_limit: int | None = Field(None, ge=0)
    image_min_size: int | None = Field(None, ge=0, description="pixels, of both sides")
    include_blocks: bool | None = None
    table_format: Literal["markdown", "html"] | None = None
    extract_header: bool | None = None
    extract_footer: bool | None = None
    confidence_scores_granularity: str | None = None
    document_annotation_format: JsonValue = None
    bbox_annotation_format: JsonValue = None

    @field_validator("document_annotation_format", "bbox_annotation_format", "confidence_scores_granularity")
    @classmethod
    def _not_supported(cls, value: object) -> object:
        if value is not None:
            raise ValueError("not supported by this service; leave it out")
        return value

    def fields(self) -> dict[str, str]:
        """The request's options as fields of a form."""
        given = {"pages": one_based(self.pages), "table": self.table_format}
        return {name: value for name, value in given.items() if value is not None}


def one_based(pages: str | Sequence[int] | None) -> str | None:
    """``[0, 1]`` or ``0-5,7`` -> ``1,2`` or ``1-6,8``. Raises ``BadPageRange``."""
    if pages is None:
        return None
    if not isinstance(pages, str):
        if not pages or min(pages) < 0:
            raise BadPageRange("pages must be page numbers, from 0")
        return ",".join(str(number + 1) for number in pages)
    return ",".join(_one_based(part) for part in pages.split(","))


def _one_based(part: str) -> str:
    match = PAGE_RANGE.fullmatch(part)
    if match is None:
        raise BadPageRange(f"{part[:40]!r} is no page range; write for instance 0-5,7")
    return "-".join(str(int(number) + 1) for number in match.groups() if number is not None)


@dataclass(frozen=True, slots=True)
class NamedFigure:
    """A figure under the name it has in the response: ``img-0.jpeg``, counted through the document."""

    id: str
    figure: Figure
    data: bytes | None = field(repr=False)

    def shown(self) -> dict[str, Any]:
        encoded = f"data:image/jpeg;base64,{base64.b64encode(self.data).decode()}" if self.data is not None else None
        return {"id": self.id, **corners(self.figure.bbox), "image_base64": encoded}


def name_figures(pages: Iterable[PageResult], images: Mapping[str, bytes], asked: OcrRequest) -> dict[str, NamedFigure]:
    """Our name of each figure that the response is to have -> the figure."""
    smallest = asked.image_min_size or 0
    wanted = [figure for page in pages for figure in page.figures if min(_size(figure)) >= smallest]
    named = enumerate(wanted[: asked.image_limit])
    return {figure.name: NamedFigure(f"img-{at}.jpeg", figure, images.get(figure.name)) for at, figure in named}


def _size(figure: Figure) -> tuple[int, int]:
    left, top, right, bottom = figure.bbox
    return right - left, bottom - top


def corners(bbox: Sequence[int]) -> dict[str, int]:
    return dict(zip(("top_left_x", "top_left_y", "bottom_right_x", "bottom_right_y"), bbox, strict=True))


def shown_page(page: PageResult, figures: Mapping[str, NamedFigure], asked: OcrRequest) -> dict[str, Any]:
    """A page of the response."""
    own = [figures[figure.name] for figure in page.figures if figure.name in figures]
    header = _furniture(page, "header") if asked.extract_header else None
    footer = _furniture(page, "footer", "page_number") if asked.extract_footer else None
    shown: dict[str, Any] = {
        "index": page.number - 1,
        "markdown": _linked(_markdown(page, asked), figures),
        "images": [figure.shown() for figure in own],
        "dimensions": {"dpi": UNKNOWN_DPI, "height": page.height, "width": page.width},
        "header": _text(header),
        "footer": _text(footer),
    }
    if asked.include_blocks:
        shown["blocks"] = [block for each in page.blocks if (block := _shown_block(each, own, figures)) is not None]
    return shown


def _furniture(page: PageResult, *types: str) -> list[PageBlock]:
    return [block for block in page.blocks if block.type in types]


def _text(blocks: list[PageBlock] | None) -> str | None:
    return "\n\n".join(block.text for block in blocks) if blocks else None


def _markdown(page: PageResult, asked: OcrRequest) -> str:
    """Without the heads and feet that are given as members of their own; a fault of the page is named first."""
    types = (
        *(["header"] if asked.extract_header else []),
        *(["footer", "page_number"] if asked.extract_footer else []),
    )
    apart = page.model_copy(update={"blocks": tuple(_furniture(page, *types))})
    text = text_of(apart, Layout(furniture=not types))
    faulty = page.status in {PageStatus.FAILED, PageStatus.DEGRADED}
    return "\n\n".join(part for part in (comment(page) if faulty else "", text) if part)


def _linked(markdown: str, figures: Mapping[str, NamedFigure]) -> str:
    """Figures by their names in the response; those that it leaves out are left out here, too."""

    def link(match: re.Match[str]) -> str:
        found = figures.get(match[1])
        return f"![{found.id}]({found.id})" if found else ""

    return IMAGE_LINK.sub(link, markdown)


def _shown_block(
    block: PageBlock, own: Sequence[NamedFigure], figures: Mapping[str, NamedFigure]
) -> dict[str, Any] | None:
    """A block; None for one whose figure is left out: their clients know no image without its id."""
    kind = BLOCK_TYPES.get(block.type, "text")
    shown: dict[str, Any] = {"type": kind, **corners(block.bbox), "content": _linked(block.text, figures)}
    if kind != "image":
        return shown
    found = next((figure for figure in own if figure.figure.bbox == block.bbox), None)
    return {**shown, "image_id": found.id} if found else None
