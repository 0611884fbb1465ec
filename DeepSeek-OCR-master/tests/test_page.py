from deepseek_ocr.boxes import to_pixels
from deepseek_ocr.page import Block, Figure, PageReader
from deepseek_ocr.parser import marker


def page(*deltas, width=1000, height=2000):
    reader = PageReader(width, height, link=lambda index: f"images/7_{index}.jpg")
    pieces = [reader.feed(delta) for delta in deltas]
    return reader, [*pieces, reader.finish()]


def test_a_figure_is_a_link_in_the_markdown_and_a_box_in_pixels():
    reader, _ = page(marker("image", ((0, 0, 999, 999), (0, 0, 500, 500))) + "\n\nbelow")
    assert reader.markdown == "![](images/7_0.jpg)\n![](images/7_1.jpg)\n\nbelow"
    assert reader.figures == [Figure(0, (0, 0, 1000, 2000)), Figure(1, (0, 0, 500, 1001))]


def test_text_without_markers_has_no_blocks():
    reader, _ = page("Free ", "text")
    assert (reader.markdown, reader.blocks) == ("Free text", ())


def test_a_label_that_names_no_kind_of_block_is_the_text_itself():
    reader, _ = page(marker("Hello world", ((10, 10, 20, 20),)))
    assert reader.markdown == "Hello world"
    assert reader.blocks == (Block("text", (10, 20, 20, 40), "Hello world"),)


def test_located_text_has_one_block_for_each_box():
    reader, _ = page(marker("cat", ((0, 0, 99, 99), (200, 200, 300, 300))))
    assert [block.bbox for block in reader.blocks] == [(0, 0, 99, 198), (200, 400, 300, 600)]


def test_blank_lines_are_collapsed_however_the_stream_is_cut():
    whole, _ = page("\n\na\n\n\n\nb\n\n\n")
    cut, pieces = page(*"\n\na\n\n\n\nb\n\n\n")
    assert whole.markdown == cut.markdown == "".join(pieces) == "a\n\nb"


def test_latex_the_renderers_lack_is_replaced_also_where_the_stream_is_cut():
    reader, _ = page("a \\colon", "eqq b \\co", "x")
    assert reader.markdown == "a := b \\cox"


def test_boxes_are_clamped_and_their_corners_put_in_order():
    assert to_pixels((1200, 500, -5, 400), 100, 100) == (0, 40, 100, 50)


def test_a_box_without_area_gets_one_pixel():
    assert to_pixels((999, 999, 999, 999), 10, 10) == (9, 9, 10, 10)
    assert to_pixels((0, 0, 0, 0), 1, 1) == (0, 0, 1, 1)
