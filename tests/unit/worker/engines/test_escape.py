"""What is printed on a page never becomes Markdown: every line comes out of the parser as it was."""

from __future__ import annotations

import pytest

from gateway.formats.parsing import parser
from gateway.formats.text import plain
from worker.engines.escape import escaped

PRINTED = [
    "# not a heading",
    "#hash",
    "1986. A great year it was.",
    "12) twelve",
    "*stars* and _underscores_ and `ticks` and **more** and __more__",
    "<script>alert(1)</script> and <b>bold</b> and <https://host.example/>",
    "![picture](https://tracker.example/p.png)",
    "[a](javascript:alert) and [b][c] and [d]: https://host.example",
    "~~not struck~~ a | b | c",
    "~one~ tilde",
    "Use &amp; and &nbsp; and &#60; in HTML",
    "- 5 °C were measured",
    "+ 3 % in May",
    "- - -",
    "___",
    "===",
    "-",
    "> quoted",
    "| a | b |",
    "--- | ---",
    r"\(a\) and \[b\] and \begin{x}",
    "$x$ and $y$",
    "$$x$$",
    "from $5 to $10, or 5$ and 6$",
    "Name: ________ Date: ____",
    "a * b * c",
]


@pytest.mark.parametrize("line", PRINTED)
def test_a_printed_line_is_shown_as_it_is(line: str) -> None:
    assert plain(escaped(line)) == line
    (paragraph, inline, _) = parser().parse(escaped(line))
    assert paragraph.type == "paragraph_open"
    assert {token.type for token in inline.children or []} <= {"text", "text_special"}


@pytest.mark.parametrize(
    "line",
    [
        "snake_case and a_b",
        "AT&T & Co.",
        "2 < 3 and 5 > 4",
        "[12] says so (p. 3)",
        "~5 %",
        "$5",
        "5 * 3",
        "1.5 m",
        "-5",
    ],
)
def test_what_markdown_leaves_alone_is_left_alone(line: str) -> None:
    assert escaped(line) == line
