import random
import re

import pytest
from made_outputs import blocks, cut, damaged, raw

from deepseek_ocr.boxes import parse_boxes
from deepseek_ocr.page import PageReader
from deepseek_ocr.parser import MAX_LABEL, Marker, ParsedText, Parser, marker, parse
from deepseek_ocr.tokens import MARKUP

# An independent statement of what is surely text: what follows neither the beginning of a label nor that of a list.
TAGS = re.compile("(" + "|".join(map(re.escape, MARKUP)) + ")")


def sure_text(output: str) -> list[str]:
    pieces = TAGS.split(output)
    after = [None, *pieces[1::2]]
    return [piece.strip() for tag, piece in zip(after, pieces[::2], strict=True) if tag not in ("<|ref|>", "<|det|>")]


def holds(text: str, pieces: list[str]) -> bool:
    """Are all the pieces in the text, in order?"""
    at = 0
    for piece in pieces:
        if (found := text.find(piece, at)) < 0:
            return False
        at = found + len(piece)
    return True


def read(pieces: list[str]) -> list[ParsedText | Marker]:
    parser = Parser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [*events, *parser.finish()]


def text_of(events: list[ParsedText | Marker]) -> str:
    return "".join(event.text for event in events if isinstance(event, ParsedText))


def test_a_thousand_outputs_come_back_as_the_blocks_they_were_made_of():
    rng = random.Random(1)
    for _ in range(1000):
        made = blocks(rng)
        page = PageReader(999, 999)
        streamed = "".join(map(page.feed, cut(rng, raw(made)))) + page.finish()
        assert [(b.label, b.bbox) for b in page.blocks] == [(b.label, b.box) for b in made]
        assert streamed == page.markdown == "\n\n".join(b.text for b in page.blocks)


def test_ten_thousand_damaged_outputs_raise_nothing_and_lose_no_text():
    rng = random.Random(2)
    for _ in range(10_000):
        output = damaged(rng, raw(blocks(rng)[:3]))
        events = read(cut(rng, output))
        assert holds(text_of(events), sure_text(output))
        page = PageReader(1240, 1754)
        page.feed(output)
        page.finish()
        assert all(0 <= b.bbox[0] < b.bbox[2] <= 1240 and 0 <= b.bbox[1] < b.bbox[3] <= 1754 for b in page.blocks)


def test_events_do_not_depend_on_where_the_stream_is_cut():
    rng = random.Random(3)
    for _ in range(500):
        output = damaged(rng, raw(blocks(rng)[:3]))
        events = read(cut(rng, output))
        assert [e for e in events if isinstance(e, Marker)] == [e for e in parse(output) if isinstance(e, Marker)]
        assert text_of(events) == text_of(parse(output))


def test_half_a_tag_is_never_emitted():
    parser = Parser()
    assert [parser.feed(c) for c in "a<|re"] == [[ParsedText("a")], [], [], [], []]
    assert parser.feed("d>") == [ParsedText("<|red>")]


def test_a_label_that_never_ends_becomes_text_before_the_output_does():
    parser = Parser()
    parser.feed("<|ref|>")
    assert parser.feed("x" * (MAX_LABEL + 1)) == [ParsedText("x" * (MAX_LABEL + 1))]


def test_a_label_that_names_no_kind_is_text_and_its_boxes_never_are():
    assert parse("<|ref|>Hello<|/ref|> there") == [ParsedText("Hello there")]
    assert parse("<|ref|>Hello<|/ref|><|det|>[[__import__('os'), 1, 2, 3]]<|/det|>") == [ParsedText("Hello")]


@pytest.mark.parametrize(
    ("written", "boxes", "text"),
    [
        # The list of boxes is broken: its integers, in fours.
        ("<|ref|>text<|/ref|><|det|>[[11 22, 33, 44]]<|/det|>\nA", ((11, 22, 33, 44),), "\nA"),
        ("<|ref|>text<|/ref|><|det|>[[11, raw 22, 33, 44]]<|/det|>\nA", ((11, 22, 33, 44),), "\nA"),
        ("<|ref|>text<|/ref|><|det|>[[11,- 22, 33, 44]]<|/det|>\nA", ((11, 22, 33, 44),), "\nA"),
        ("<|ref|>text<|/ref|><|det|> [[11, 22, 33, 44]]<|/det|>\nA", ((11, 22, 33, 44),), "\nA"),
        ("<|ref|>text<|/ref|> <|det|>[[11, 22, 33) 44]]<|/det|>A", ((11, 22, 33, 44),), "A"),
        ("<|ref|>text<|/ref|><|det|>[[11, 22, 33, 44], [1, 2, 3]]<|/det|>A", ((11, 22, 33, 44),), "A"),
        ("<|ref|>text<|/ref|><|det|>[[11, hotline, 33, 44]]<|/det|>\nA", (), "\nA"),
        ("<|ref|>text<|/ref|><|det|>[0.5, 0.5, 0.5, 0.5]<|/det|>\nA", (), "\nA"),
        # It has no end: what looks like a part of it is skipped, the rest is the block's text.
        ("<|ref|>text<|/ref|><|det|>[[11, 22, 33, 44]]\nA line", ((11, 22, 33, 44),), "\nA line"),
        ("<|ref|>text<|/ref|><|det|>[[11, A line", (), "A line"),
        ("<|ref|>text<|/ref|><|det|>[1.5cm] \nA", (), " \nA"),
        ("<|ref|>text<|/ref|><|det|>[[11, 22\n2024 was", (), "\n2024 was"),
        # There is none.
        ("<|ref|>text<|/ref|>A line", (), "A line"),
        ("<|ref|>text A line\nB", (), " A line\nB"),
        ("<|ref|>text\nA line", (), "\nA line"),
        # The label is one of a kind all the same.
        ("<|ref|>text_begin<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>A", ((1, 2, 3, 4),), "A"),
        ("<|ref|>text_12<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>A", ((1, 2, 3, 4),), "A"),
        ("<|ref|>text of text<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>A", ((1, 2, 3, 4),), "A"),
        ("<|ref|>text group<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>A", ((1, 2, 3, 4),), "A"),
    ],
)
def test_a_broken_marker_is_a_marker(written, boxes, text):
    assert parse(written) == [Marker("text", boxes), ParsedText(text)]
    assert read(list(written)) != []
    assert text_of(read(list(written))) == text
    assert [event for event in read(list(written)) if isinstance(event, Marker)] == [Marker("text", boxes)]


@pytest.mark.parametrize("cut", ["<|ref|>", "<|ref|>te", "<|ref|>sub_title", "<|ref|>text<|/ref|><|det|>[[800, 873,"])
def test_an_output_that_ends_inside_a_marker_says_nothing_of_it(cut):
    assert text_of(parse("A" + cut)) == "A"


def test_a_long_text_in_a_list_of_boxes_is_text():
    told = "the page goes on and on in the list, as if nothing had happened"
    assert text_of(parse(f"<|ref|>text<|/ref|><|det|>[[1, 2, {told}]]<|/det|>")) == f"{told}]]"


def test_a_list_without_a_label_is_no_text():
    assert parse("A<|det|>[[1, 2, 3, 4]]<|/det|>B") == [ParsedText("AB")]


@pytest.mark.parametrize("line", ["title", "table", "image", "text_1", "code group"])
def test_where_labels_are_text_none_names_a_kind(line):
    output = marker(line, ((1, 2, 3, 4),))
    (event,) = parse(output, kinds=False)
    assert (event, event.is_text) == (Marker(line, ((1, 2, 3, 4),)), True)
    assert text_of(parse(f"<|ref|>{line}<|/ref|>", kinds=False)) == line


def test_a_marker_may_have_several_boxes():
    assert parse("<|ref|>cat<|/ref|><|det|>[[1, 2, 3, 4],[5,6,7,8]]<|/det|>") == [
        Marker("cat", ((1, 2, 3, 4), (5, 6, 7, 8)))
    ]


def test_a_long_run_of_spaces_in_a_box_list_is_read_quickly():
    assert parse_boxes("[[1,2,3,4]" + " " * 19_000 + "x]") is None


def test_the_end_of_sentence_token_is_no_text():
    assert parse("done<｜end▁of▁sentence｜>") == [ParsedText("done")]
