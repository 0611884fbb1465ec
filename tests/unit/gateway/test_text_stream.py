"""Pages that end in any order are sent in page order; by examples and at random."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.markdown import markdown
from gateway.streaming.text_stream import TextStream
from shared.contract.document import DocumentResult, PageResult, PageStatus


def sent(pieces: list[dict[str, Any]]) -> str:
    """The text a client has at the end: a reset voids what came before."""
    text = ""
    for piece in pieces:
        text = "" if piece.get("reset") else text + piece["text"]
    return text


def ok(number: int, text: str) -> PageResult:
    return PageResult(number=number, status=PageStatus.OK, markdown=text)


def test_a_page_that_was_told_otherwise_stands_as_it_was_sent() -> None:
    text_stream = TextStream([1, 2])
    pieces = [*text_stream.token(1, "raw"), *text_stream.ended(ok(1, "clean")), *text_stream.ended(ok(2, "two"))]
    assert pieces == [{"text": "raw"}, {"text": "\n\ntwo"}]


def test_a_failed_page_leaves_its_mark() -> None:
    text_stream = TextStream([7])
    pieces = list(text_stream.ended(PageResult(number=7, status=PageStatus.FAILED, reason="inference-failed")))
    assert sent(pieces) == "<!-- page 7: failed (inference-failed) -->"


def test_a_reset_of_a_page_of_which_nothing_was_told_is_silent() -> None:
    text_stream = TextStream([1, 2])
    assert list(text_stream.token(2, "held back")) == []
    assert list(text_stream.restarted(2)) == []
    assert list(text_stream.restarted(1)) == []


def test_after_missed_events_only_whole_pages_are_sent() -> None:
    text_stream = TextStream([1, 2])
    pieces = [
        *text_stream.token(1, "half a wo"),
        *text_stream.missed(),
        *text_stream.token(1, "rd"),
        *text_stream.ended(ok(1, "half a word")),
    ]
    assert pieces == [{"text": "half a wo"}, {"reset": True}, {"text": "half a word"}]


STEPS = st.tuples(st.integers(0, 4), st.sampled_from(["say", "say", "end", "restart", "miss"]), st.integers(0, 12))


@given(st.lists(st.text("ab \n", max_size=12), min_size=1, max_size=5), st.lists(STEPS, max_size=30))
def test_whatever_the_order_what_is_told_is_the_markdown(texts: list[str], steps: list[tuple[int, str, int]]) -> None:
    texts = [text.strip("\n") for text in texts]
    text_stream, pieces = TextStream(range(1, len(texts) + 1)), list[dict[str, Any]]()
    left, ended = list(texts), set[int]()
    for at, step, cut in [*steps, *((at, "end", 0) for at in range(len(texts)))]:
        if at >= len(texts) or at in ended:
            continue
        if step == "say":
            pieces += text_stream.token(at + 1, left[at][:cut])
            left[at] = left[at][cut:]
        elif step == "restart":
            pieces += text_stream.restarted(at + 1)
            left[at] = texts[at]
        elif step == "miss":
            pieces += text_stream.missed()
        else:
            pieces += text_stream.ended(ok(at + 1, texts[at]))
            ended.add(at)
    pieces += text_stream.finished()
    document = DocumentResult(job_id="j", engine="e", pages=tuple(ok(n, text) for n, text in enumerate(texts, 1)))
    assert sent(pieces).rstrip("\n") == markdown(document).rstrip("\n")
