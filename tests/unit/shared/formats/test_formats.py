"""Formats: each against its golden file (``UPDATE`` below rewrites them), no way in for scripts."""

from __future__ import annotations

import random
import re
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from gateway.formats.archive import archive
from gateway.formats.document_json import as_json
from gateway.formats.html import CSP, CSS, fragment, html
from gateway.formats.markdown import comment, markdown
from gateway.formats.negotiation import negotiate
from gateway.formats.registry import FORMATS
from gateway.formats.source import Source
from gateway.formats.text import plain, text
from shared.contract.document import DocumentResult, Figure, PageBlock, PageResult, PageStatus
from shared.errors import BadOption

GOLDEN = Path(__file__).parents[3] / "golden"
UPDATE = False

FIRST = r"""# A title

Some *text* with \(a^2\) and `\(code\)`, from $5 to $10.

\[
\frac{1}{2}
= x
\]

| a | b |
|---|--:|
| 1 | 2 |

<table><tr><td rowspan="2">x</td><td>\(y_1\)</td></tr><tr><td>z</td></tr></table>

![](images/1_0.jpg)

- one
- two"""

DOCUMENT = DocumentResult(
    job_id="01JD",
    engine="instant",
    pages=(
        PageResult(
            number=1,
            status=PageStatus.OK,
            width=100,
            height=200,
            markdown=FIRST,
            blocks=(PageBlock(type="title", bbox=(1, 2, 30, 40), text="A title"),),
            figures=(Figure(name="1_0.jpg", bbox=(5, 5, 50, 50)),),
        ),
        PageResult(number=2, status=PageStatus.FAILED, reason="render-failed"),
        PageResult(number=7, status=PageStatus.DEGRADED, reason="repetition", markdown="again again"),
    ),
)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("document.md", markdown(DOCUMENT)),
        ("document.json", as_json(DOCUMENT) + "\n"),
        ("document.json", DOCUMENT.model_dump_json() + "\n"),
        ("document.html", html(DOCUMENT)),
        ("document.txt", text(DOCUMENT)),
    ],
)
def test_golden(name: str, written: str) -> None:
    if UPDATE:
        (GOLDEN / name).write_text(written, encoding="utf-8")
    assert written == (GOLDEN / name).read_text(encoding="utf-8")


def source(document: DocumentResult, figures: Mapping[str, bytes], at_once: int = 2) -> Source:
    """The document from memory, a few pages at a time."""

    async def pages() -> AsyncIterator[Sequence[PageResult]]:
        for at in range(0, len(document.pages), at_once):
            yield document.pages[at : at + at_once]

    async def figures_of(pages: Sequence[PageResult]) -> AsyncIterator[tuple[str, bytes]]:
        for figure in (figure for page in pages for figure in page.figures):
            yield figure.name, figures[figure.name]

    async def picture(_number: int) -> bytes | None:
        return None

    return Source(document.job_id, document.engine, pages, figures_of, picture)


async def zipped(document: DocumentResult, figures: Mapping[str, bytes]) -> bytes:
    return b"".join([piece async for piece in archive(source(document, figures))])


def page_with(figure: str, number: int) -> PageResult:
    table = PageBlock(type="table", bbox=(0, 0, 9, 9), text="| a |\n|---|\n| 1 |")
    figures = (Figure(name=figure, bbox=(5, 5, 50, 50)),)
    return PageResult(number=number, status=PageStatus.OK, markdown="text", blocks=(table,), figures=figures)


async def test_zip_holds_everything_and_is_the_same_each_time() -> None:
    document = DOCUMENT.model_copy(update={"pages": (page_with("2_0.jpg", 2), page_with("10_0.jpg", 10))})
    figures = {"10_0.jpg": b"ten", "2_0.jpg": b"two"}
    first = await zipped(document, figures)
    assert first == await zipped(document, dict(reversed(figures.items())))
    with ZipFile(BytesIO(first)) as opened:
        assert opened.namelist() == [
            "result.md", "result.json", "images/2_0.jpg", "images/10_0.jpg", "tables/2_0.csv", "tables/10_0.csv",
        ]  # fmt: skip
        assert opened.testzip() is None
        assert opened.read("result.md").decode() == markdown(document)
        assert DocumentResult.model_validate_json(opened.read("result.json")) == document
        assert opened.read("images/10_0.jpg") == b"ten"


async def test_every_part_of_a_zip_can_be_read_as_it_comes_in() -> None:
    """Of a part that is stored as it is, with its size behind it, nobody can tell the end without the zip's own end."""
    document = DOCUMENT.model_copy(update={"pages": (page_with("2_0.jpg", 2),)})
    with ZipFile(BytesIO(await zipped(document, {"2_0.jpg": b"two"}))) as opened:
        assert {entry.compress_type for entry in opened.infolist()} == {ZIP_DEFLATED}


@pytest.mark.parametrize("name", ["../1_0.jpg", "1_0.jpg\n", "/etc/passwd", "1_0.png"])
async def test_zip_takes_no_other_names(name: str) -> None:
    document = DOCUMENT.model_copy(update={"pages": (page_with(name, 2),)})
    with pytest.raises(ValueError, match="figure"):
        await zipped(document, {name: b""})


class CountedPages:
    """A source of many pages that knows how many of them, and of their figures, are held at once."""

    PAGES, AT_ONCE, FIGURE = 400, 4, 50_000

    def __init__(self) -> None:
        self.held = self.most = 0

    def _released(self) -> None:
        self.held -= 1

    def page(self, number: int) -> PageResult:
        page = page_with(f"{number}_0.jpg", number)
        weakref.finalize(page, self._released)
        self.held += 1
        self.most = max(self.most, self.held)
        return page

    async def pages(self) -> AsyncIterator[Sequence[PageResult]]:
        for first in range(1, self.PAGES + 1, self.AT_ONCE):
            yield [self.page(number) for number in range(first, first + self.AT_ONCE)]

    async def figures(self, pages: Sequence[PageResult]) -> AsyncIterator[tuple[str, bytes]]:
        for figure in (figure for page in pages for figure in page.figures):
            yield figure.name, random.Random(figure.name).randbytes(self.FIGURE)

    async def picture(self, _number: int) -> bytes | None:
        return None


@pytest.mark.parametrize("name", FORMATS)
async def test_a_long_document_is_never_in_memory_whole(name: str) -> None:
    """However long it is, no more pages are held than are handed over at once, and no piece holds many figures."""
    counted = CountedPages()
    its = Source("01JD", "instant", counted.pages, counted.figures, counted.picture)
    largest = total = 0
    async for piece in FORMATS[name].pieces(its):
        largest, total = max(largest, len(piece)), total + len(piece)
    assert counted.most <= 8 * counted.AT_ONCE  # a thread that wrote some lets go of them a little later
    assert largest < 2 * counted.FIGURE
    assert total > (counted.PAGES * counted.FIGURE if FORMATS[name].has_figures else 4 * counted.PAGES)


def test_a_reason_cannot_end_its_comment() -> None:
    page = PageResult(number=1, status=PageStatus.FAILED, reason="--><script>alert(1)</script>")
    assert comment(page).count("-->") == 1


PROBES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:alert(1))",
    "<iframe src=//evil.example></iframe>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><annotation-xml encoding='text/html'><script>alert(1)</script></annotation-xml></math>",
    "<form action=//evil.example><button>x</button></form>",
    "<style>@import '//evil.example'</style>",
    "<td style='background:url(//evil.example)'>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<object data=//evil.example>",
    "<a href='javascript&#58;alert(1)'>x</a>",
    "<img src='//evil.example/pixel.png'>",
    "![x](https://evil.example/pixel.png)",
    "![x](images/../../secret)",
    r"\(\text{<script>alert(1)</script>}\)",
    r"\(\href{javascript:alert(1)}{x}\)",
    "<table><tr><td>$<img src=x onerror=alert(1)>$</td></tr></table>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<details ontoggle=alert(1) open>",
    "</section></main><script>alert(1)</script>",
]


class Tags(HTMLParser):
    """What a browser would take for tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((tag, {}))


FORBIDDEN = {"script", "iframe", "svg", "form", "style", "base", "meta", "object", "template", "section", "main"}
URL = re.compile(r"\s*(javascript|data|vbscript|//|https://evil)", re.IGNORECASE)


@pytest.mark.parametrize("probe", PROBES)
def test_no_script_gets_through(probe: str) -> None:
    for tag, attributes in Tags(fragment(probe)).found:
        assert tag not in FORBIDDEN
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        assert not any(URL.match(attributes.get(name) or "") for name in ("href", "src"))


@pytest.mark.parametrize(
    "source",
    [
        "cp /opt/<package>/etc .",
        "if a<b and c>d then",
        "write <style> here",
        "<!-- a note --> in a listing",
        "<?xml version='1.0'?>",
        "a <-- b --> c",
        "#include <stdio.h>",
    ],
)
def test_what_only_looks_like_a_tag_is_text(source: str) -> None:
    """Unescaped, as a model writes it: nothing of it is lost, and what follows stays."""
    assert unescape(re.sub("</?p>", "", fragment(f"{source}\n\nafter"))).split() == [*source.split(), "after"]
    assert plain(f"{source}\n\nafter").split() == [*source.split(), "after"]


def test_tags_in_which_engines_write_tables_are_tags() -> None:
    cells = '<tr><td colspan="2" align=left>a<b</td><TD>H<sub>2</sub>O<br/>$x$</TD></tr>'
    shown = fragment(f"<table>{cells}</table>")
    assert [tag for tag, _ in Tags(shown).found if tag in {"table", "td", "sub", "br"}] == [
        "table", "td", "td", "td", "sub", "sub", "br", "td", "table",
    ]  # fmt: skip
    assert "a&lt;b" in shown
    assert "<math" in shown


def test_amounts_are_no_formulas() -> None:
    assert "<math" not in fragment("from US$5 to US$10, $5-$10")
    assert "<math" not in fragment("<table><tr><td>US$5 to US$10</td></tr></table>")


def test_numbers_of_a_list_are_the_pages_own() -> None:
    assert [number for tag, found in Tags(fragment("3. a\n7. b")).found if (number := found.get("value"))] == ["3", "7"]


def test_the_page_needs_no_more_than_its_policy_allows() -> None:
    page = html(DOCUMENT)
    assert f"<style>{CSS}</style>" in page
    assert " style=" not in page
    assert "unsafe" not in CSP


def test_figures_can_lie_elsewhere_on_the_same_origin() -> None:
    assert 'src="/api/v1/jobs/1/images/1_0.jpg"' in fragment("![a](images/1_0.jpg)", "/api/v1/jobs/1/images/")


@pytest.mark.parametrize("formula", [r"\(" + "{" * 3000 + r"\)", r"\(x^\)", r"\(\frac\)", r"\(\begin{x}\)"])
def test_a_formula_that_cannot_be_read_is_shown_as_it_is(formula: str) -> None:
    shown = fragment(formula)
    assert "<code>" in shown or "<math" in shown


def test_many_unclosed_formulas_are_text() -> None:
    assert r"<math" not in fragment(r"\( " * 20_000)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("**a** _b_ [c](d)", "a b c"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1\t2"),
        ("a<br>b", "a\nb"),
        ("1. one\n2. two\n\n- three", "1. one\n2. two\n\n- three"),
        ("- one\n- two\n\n5. five\n9. nine", "- one\n- two\n\n5. five\n9. nine"),
        ("```\ncode\n```", "code"),
        ("from US$5 to US$10, $5-$10 and $x$", "from US$5 to US$10, $5-$10 and x"),
        ("2150\\*2150\\*1130 mm", "2150*2150*1130 mm"),
        ("H<sup>2</sup>", "H^2"),
        ("| a | b |\n|---|---|\n| 1<br>2 | 3 |", "a\tb\n1 2\t3"),
        ("<table><tr><td>1<br/>2</td><td>t<sup>a</sup></td></tr></table>", "1 2\tt^a"),
        (
            '<table><tr><td rowspan="2">a</td><td colspan="2">b</td><td>c</td></tr>'
            "<tr><td>d</td><td>e</td><td>f</td></tr></table>",
            "a\tb\t\tc\n\td\te\tf",
        ),
        ("<table><tr><tr><td>a<td>b</td>c</tr></table>", "a\tb c"),
        ("<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>after", "a\nb\nafter"),
        ("<table>before<tr><td>a</td></tr>", "before\na"),
        ("0</td><td>1", "0\t\t1"),
        ("x &amp; y", "x & y"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("<p>one</p>two<br/>three", "one\ntwo\nthree"),
        ("<table><tr><td>a<b</td><td>c</td></tr></table>", "a<b\tc"),
    ],
)
def test_plain_text(source: str, said: str) -> None:
    assert plain(source) == said


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "md"),
        ("*/*", "md"),
        ("application/json", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html"),
        ("text/markdown;q=0.2, application/json;q=0.7", "json"),
        ("text/*;q=0.5, application/zip", "zip"),
        ("text/markdown;q=0, text/*", "html"),
        ("image/png", "md"),
        ("text/plain; charset=utf-8; q=1", "txt"),
        (";;;,,//, ,q=9", "md"),
        ("a/b," * 100_000, "md"),
    ],
)
def test_accept(accept: str | None, chosen: str) -> None:
    assert negotiate(accept).name == chosen


def test_query_wins_over_accept_and_must_be_known() -> None:
    assert negotiate("application/json", "txt").name == "txt"
    with pytest.raises(BadOption):
        negotiate(None, "docx")
