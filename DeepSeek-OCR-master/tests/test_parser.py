import random
import re

from made_outputs import blocks, cut, damaged, raw

from deepseek_ocr.boxes import parse_boxes
from deepseek_ocr.page import PageReader
from deepseek_ocr.parser import MAX_LABEL, Marker, Parser, Text, parse
from deepseek_ocr.tokens import MARKUP

# An independent statement of what is text: whole markers go with their label, stray tags go alone.
WHOLE = re.compile(
    r"<\|ref\|>((?:(?!<\|/?(?:ref|det|grounding)\|>|<image>|<｜(?:begin|end)▁of▁sentence｜>|<｜▁pad▁｜>)[\s\S])*)<\|/ref\|>"
    r"<\|det\|>([^<]*)<\|/det\|>"
)
TAGS = re.compile("|".join(map(re.escape, MARKUP)))


def plain(output: str) -> str:
    def keep(match: re.Match[str]) -> str:
        return "" if parse_boxes(match[2]) else match[0]

    return TAGS.sub("", WHOLE.sub(keep, output))


def read(pieces: list[str]) -> list[Text | Marker]:
    parser = Parser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [*events, *parser.finish()]


def text_of(events: list[Text | Marker]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def test_a_thousand_outputs_come_back_as_the_blocks_they_were_made_of():
    rng = random.Random(1)
    for _ in range(1000):
        made = blocks(rng)
        page = PageReader(999, 999)
        streamed = "".join(map(page.feed, cut(rng, raw(made)))) + page.finish()
        assert [(b.label, b.bbox, b.text) for b in page.blocks] == [(b.label, b.box, b.text) for b in made]
        assert streamed == page.markdown == "\n\n".join(b.text for b in made)


def test_ten_thousand_damaged_outputs_raise_nothing_and_lose_no_text():
    rng = random.Random(2)
    for _ in range(10_000):
        output = damaged(rng, raw(blocks(rng)[:3]))
        events = read(cut(rng, output))
        assert text_of(events) == plain(output)
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
    assert [parser.feed(c) for c in "a<|re"] == [[Text("a")], [], [], [], []]
    assert parser.feed("d>") == [Text("<|red>")]


def test_a_label_that_never_ends_becomes_text_before_the_output_does():
    parser = Parser()
    parser.feed("<|ref|>")
    assert parser.feed("x" * (MAX_LABEL + 1)) == [Text("x" * (MAX_LABEL + 1))]


def test_a_label_without_boxes_is_text():
    assert parse("<|ref|>title<|/ref|># A") == [Text("title# A")]


def test_boxes_that_are_not_integers_are_text():
    assert parse("<|ref|>t<|/ref|><|det|>[[__import__('os'), 1, 2, 3]]<|/det|>") == [
        Text("t[[__import__('os'), 1, 2, 3]]")
    ]


def test_a_marker_may_have_several_boxes():
    assert parse("<|ref|>cat<|/ref|><|det|>[[1, 2, 3, 4],[5,6,7,8]]<|/det|>") == [
        Marker("cat", ((1, 2, 3, 4), (5, 6, 7, 8)))
    ]


def test_a_long_run_of_spaces_in_a_box_list_is_read_quickly():
    assert parse_boxes("[[1,2,3,4]" + " " * 19_000 + "x]") is None


def test_the_end_of_sentence_token_is_no_text():
    assert parse("done<｜end▁of▁sentence｜>") == [Text("done")]
