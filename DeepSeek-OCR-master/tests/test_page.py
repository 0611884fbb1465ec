import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek_ocr.boxes import to_pixels
from deepseek_ocr.page import OutputBlock, OutputFigure, PageReader
from deepseek_ocr.parser import marker
from deepseek_ocr.style import MarkdownStyle
from deepseek_ocr.tokens import MARKUP

BOX = ((0, 0, 999, 999),)
WHOLE = (0, 0, 1000, 2000)


def page(*deltas, width=1000, height=2000, **more):
    reader = PageReader(width, height, link=lambda index: f"images/7_{index}.jpg", **more)
    pieces = [reader.feed(delta) for delta in deltas]
    return reader, [*pieces, reader.finish()]


def block(label, text):
    return f"{marker(label, BOX)}\n{text}\n\n"


def markdown(*blocks, **more):
    return page("".join(blocks), **more)[0].markdown


def test_a_figure_is_a_link_in_the_markdown_and_a_box_in_pixels():
    reader, _ = page(marker("image", ((0, 0, 999, 999), (0, 0, 500, 500))) + "\n\nbelow")
    assert reader.markdown == "![](images/7_0.jpg)\n![](images/7_1.jpg)\n\nbelow"
    assert reader.figures == [OutputFigure(0, (0, 0, 1000, 2000)), OutputFigure(1, (0, 0, 500, 1001))]


def test_a_figure_of_a_pixel_is_none_and_the_same_box_is_the_same_figure():
    reader, _ = page(marker("image", ((5, 5, 900, 5),)) + marker("image", BOX) * 3)
    assert reader.figures == [OutputFigure(0, (0, 0, 1000, 2000))]
    assert [found.text for found in reader.blocks] == ["", *["![](images/7_0.jpg)"] * 3]


def test_text_without_markers_has_no_blocks():
    reader, _ = page("Free ", "text")
    assert (reader.markdown, reader.blocks) == ("Free text", ())


def test_text_before_the_first_marker_is_a_block_of_the_whole_page():
    reader, _ = page("Before", block("text", "A"))
    assert reader.blocks == (OutputBlock("text", WHOLE, "Before"), OutputBlock("text", WHOLE, "A"))


def test_a_label_that_names_no_kind_of_block_is_the_text_itself():
    reader, _ = page(marker("Hello world", ((10, 10, 20, 20),)))
    assert reader.markdown == "Hello world"
    assert reader.blocks == (OutputBlock("text", (10, 20, 20, 40), "Hello world"),)


def test_the_prompt_decides_whether_a_label_is_text():
    reader, _ = page(marker("table", ((10, 10, 20, 20),)) + "\n" + marker("image", BOX), kinds=False)
    assert reader.markdown == "table\n\nimage"
    assert [found.label for found in reader.blocks] == ["text", "text"]
    assert reader.figures == []


def test_located_text_has_one_block_for_each_box():
    reader, _ = page(marker("cat", ((0, 0, 99, 99), (200, 200, 300, 300))))
    assert [found.bbox for found in reader.blocks] == [(0, 0, 99, 198), (200, 400, 300, 600)]


def test_a_block_whose_boxes_cannot_be_told_is_somewhere_on_the_page():
    reader, _ = page("<|ref|>text<|/ref|>A line")
    assert reader.blocks == (OutputBlock("text", WHOLE, "A line"),)


def test_blocks_without_text_are_left_out():
    reader, _ = page(block("text", " ") + block("equation", "") + block("text", "A"))
    assert reader.blocks == (OutputBlock("text", WHOLE, "A"),)


def test_the_name_of_a_tag_may_go_on_in_the_next_piece():
    whole, _ = page("a\n0 <tablet> b")
    cut, pieces = page("a\n0 <table", "t> b")
    assert whole.markdown == cut.markdown == "".join(pieces) == "a\n0 \\<tablet> b"


def test_blank_lines_are_collapsed_however_the_stream_is_cut():
    whole, _ = page("\n\na\n\n\n\nb\n\n\n")
    cut, pieces = page(*"\n\na\n\n\n\nb\n\n\n")
    assert whole.markdown == cut.markdown == "".join(pieces) == "a\n\nb"


def test_text_is_given_out_by_words_and_from_a_sign_that_a_rule_may_act_on_by_lines():
    reader = PageReader(100, 100)
    assert reader.feed("A word") == "A word"
    assert [reader.feed(piece) for piece in (" and 1", "0 of", " \\(x", "\\) more", "\nnext", "\n\nlast")] == [
        " and",
        " 10 of",
        "",
        "",
        " $x$ more",
        "\nnext\n\nlast",
    ]
    assert reader.finish() == ""


def test_words_are_given_out_after_blanks_that_begin_a_paragraph_but_keep_those_that_follow_a_list():
    reader = PageReader(100, 100)
    assert [reader.feed(piece) for piece in ("  one", " two", "\n\n three")] == ["one", " two", "\n\nthree"]
    output = "- one<center>\n<|grounding|> r\n"
    whole, (cut, _) = PageReader(100, 100), page(*output)
    whole.feed(output)
    whole.finish()
    assert cut.markdown == whole.markdown == "- one\n\n r"


def test_of_the_first_block_only_words_before_two_spaces_are_given_out():
    first, second = block("text", "A first line  \nand its second  "), f"{marker('text', BOX)}\nB\nC"
    reader = PageReader(100, 100)
    assert [reader.feed(first), reader.feed(second[:-3]), reader.feed(second[-3:-1])] == [
        "A first line",
        "  \nand its second",
        "\n\nB",
    ]
    assert reader.feed(second[-1:]) + reader.finish() == "\nC"


def test_text_outside_any_block_is_given_out_too():
    reader = PageReader(100, 100)
    assert [reader.feed("one\ntw"), reader.feed("o\n\nthree"), reader.finish()] == ["one", "\ntwo\n\nthree", ""]


def test_a_table_below_its_captions_marker_is_the_tables():
    reader, _ = page(
        block("table", "")
        + block("table_caption", "Table 2. Cases.   \n\n<table><tr><td>a</td></tr></table>")
        + block("text", "After")
    )
    assert [(found.label, found.text) for found in reader.blocks] == [
        ("table_caption", "Table 2. Cases."),
        ("table", "| a |\n| --- |"),
        ("text", "After"),
    ]
    assert reader.markdown == "Table 2. Cases.\n\n| a |\n| --- |\n\nAfter"


def test_text_below_a_captions_table_is_kept_with_the_table():
    output = block("table", "") + f"{marker('table_caption', BOX)}\nT <table><tr><td>a</td></tr></table> see *p"
    for size in (len(output), 1, 7):
        reader, _ = page(*(output[at : at + size] for at in range(0, len(output), size)))
        assert [(found.label, found.text) for found in reader.blocks] == [
            ("table_caption", "T"),
            ("table", "| a |\n| --- |\n\nsee \\*p"),
        ]


def test_a_table_goes_past_two_captions_and_stays_where_its_own_text_is():
    table = "<table><tr><td>a</td></tr></table>"
    found, _ = page(block("table", "") + block("table_caption", "T") + block("table_footnote", f"F {table}"))
    assert [b.label for b in found.blocks] == ["table_caption", "table_footnote", "table"]
    own, _ = page(block("table", table) + block("table_footnote", f"see {table}"))
    assert [b.label for b in own.blocks] == ["table", "table_footnote"]


def test_a_table_goes_past_a_block_without_text():
    output = block("table", "") + block("text", " ") + block("table_caption", "T\n<table><tr><td>a</td></tr></table>")
    assert [found.label for found in page(output)[0].blocks] == ["table_caption", "table"]


def test_captions_lose_their_centering():
    assert markdown(block("image_caption", "<center>Figure 1. A cat </center>  ")) == "Figure 1. A cat"


def test_centred_text_is_a_paragraph_of_its_own():
    assert markdown("Above\n<center>A</center> B <center>C</center>\nBelow") == "Above\n\nA\n\nB\n\nC\n\nBelow"


def test_the_style_of_a_page_is_told_by_the_end_of_its_first_block():
    items = "2.1 References 11  2.2 Definitions 11"
    assert markdown(block("text", "A  "), block("text", items)) == "A\n\n2.1 References 11  \n2.2 Definitions 11"
    assert markdown(block("text", "A "), block("text", items)) == f"A\n\n{items}"


@pytest.mark.parametrize(
    ("label", "text", "shown"),
    [
        ("title", "Annual report", "# Annual report"),
        ("title", "# Annual report", "# Annual report"),
        ("sub_title", "7. Costs", "## 7. Costs"),
        ("sub_title", "7. Costs\nof 2025", "## 7. Costs\nof 2025"),
        ("sub_title", r"\(x\)", "$x$"),
        ("text", "# Parameter:\nx = 1", "\\# Parameter:\nx = 1"),
        ("text", "## Two", "## Two"),
        ("code", "# a", "\\# a"),
        ("table_footnote", "# p < 0.05", "\\# p < 0.05"),
        ("text", "a\n---", "a\n\\---"),
        ("text", "Discount\n-\nTax\n--", "Discount\n\\-\nTax\n\\--"),
        ("text", "a\n===", "a\n\\==="),
        ("text", "[1]: http://x.y", "[1]\\: http://x.y"),
    ],
)
def test_headings(label, text, shown):
    assert markdown(block("text", "A "), block(label, text)) == f"A\n\n{shown}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("* p < 0.05\n** p < 0.01", "\\* p < 0.05  \n** p < 0.01"),
        ("of\n* a\n+ b\n>5 mm", "of  \n\\* a  \n\\+ b  \n\\>5 mm"),
        ("- a\n* b", "- a\n* b"),
        ("+5 and > 5\n*", "+5 and > 5\n\\*"),
    ],
)
def test_marks_that_begin_lines_of_a_block_are_printed_and_no_list_or_quotation(text, shown):
    assert markdown(block("text", "A "), block("text", text)) == f"A\n\n{shown}"


def test_marks_that_begin_lines_of_text_without_blocks_are_markdown():
    assert markdown("* a\n* b\n> c") == "* a\n* b\n> c"


def test_printed_tildes_begin_no_code():
    assert markdown("~~~\na", block("text", "~~~~\nb")) == "\\~~~\na\n\n\\~~~~\nb"


def test_code_is_left_as_it_is_and_closed():
    assert markdown("```\na*b  $5 third- party\n# x") == "```\na*b  $5 third- party\n# x\n```"


def test_a_table_that_was_cut_is_closed():
    cut = "<table><tr><td>a</td><td>b"
    assert markdown(block("table", cut), block("text", "After")) == f"{cut}</table>\n\nAfter"


@pytest.mark.parametrize("half", ["<", "</", "</t", "</tab", "<td", '<td colspan="2"', "<TR"])
def test_half_a_tag_at_the_end_of_a_table_that_was_cut_goes(half):
    cut = "<table><tr><td>a</td><td>b < 5"
    assert markdown(block("table", cut + half)) == f"{cut}</table>"


def test_the_brackets_and_the_html_can_be_kept():
    style = MarkdownStyle(math="brackets", table="html", clean=False)
    table = r"<table><tr><td>\(x\)</td></tr></table>"
    assert markdown(table, style=style) == table
    assert markdown(r"a third- party \(x\)", style=style) == r"a third- party \(x\)"
    assert markdown("\\[\nx\n\\]", style=style) == "\\[\nx\n\\]"


def test_latex_the_renderers_lack_is_replaced_also_where_the_stream_is_cut():
    reader, _ = page("a \\colon", "eqq b \\co", "x")
    assert reader.markdown == "a := b \\cox"


def test_boxes_are_clamped_and_their_corners_put_in_order():
    assert to_pixels((1200, 500, -5, 400), 100, 100) == (0, 40, 100, 50)


def test_a_box_without_area_gets_one_pixel():
    assert to_pixels((999, 999, 999, 999), 10, 10) == (9, 9, 10, 10)
    assert to_pixels((0, 0, 0, 0), 1, 1) == (0, 0, 1, 1)


SHARDS = (
    *MARKUP, "text", "table", "table_caption", "title", "image", "[[1, 2, 3, 4]]", "[[1, 2", "\n", "\n\n", "  ", " ",
    "- ", "<table>", "<tr>", "<td>", "</td>", "</tr>", "</table>", "\\(", "\\)", "\\[", "\\]", "\\begin{a}",
    "\\end{a}", "`", "```", "|", "| --- |", "*", "**", "_", "$", "#", "x- y", "[1] ", "[2] ", "<center>", "</center>",
    "<br>", "7", "word", "Words, and 12 of well-known", " .", "-", "\u00a0", "é",
    "\ufdd0", "\ufdd1", "&lt;", "\\", "<sup>", "]: ", "](", "===", "---",
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(SHARDS), max_size=60).map("".join), st.integers(1, 9), st.sampled_from([True, False]))
def test_any_output_gives_the_same_page_however_it_is_cut(output, size, brackets):
    more = {"style": MarkdownStyle(math="brackets", clean=False, table="html")} if brackets else {}
    whole, _ = page(output, **more)
    cut, pieces = page(*(output[at : at + size] for at in range(0, len(output), size)), **more)
    assert "".join(pieces) == cut.markdown == whole.markdown
    assert (cut.blocks, cut.figures) == (whole.blocks, whole.figures)
    if whole.blocks:
        assert whole.markdown == "\n\n".join(found.text for found in whole.blocks if found.text)
    assert whole.markdown == whole.markdown.strip("\n")
    assert "\n\n\n" not in whole.markdown or "```" in whole.markdown
