"""Pages through the real engine: what is streamed, what comes of it, what else can happen to a page."""

import asyncio
from contextlib import aclosing

import pytest
from PIL import Image
from vllm.model_executor.models.deepseek_ocr import (
    DeepseekOCRDummyInputsBuilder,
    DeepseekOCRMultiModalProcessor,
    DeepseekOCRProcessingInfo,
)
from vllm.renderers.inputs.preprocess import parse_model_prompt

from deepseek_ocr.modes import GUNDAM, MODES
from deepseek_ocr.prompts import DOCUMENT, FREE_OCR
from deepseek_ocr.repetition import NGRAM, STRONGER
from shared.contract.document import PageStatus
from shared.contract.options import Options
from shared.errors import BadPrompt, PromptTooLong
from tests.vllm.conftest import page
from worker.engines.base import PageImage, PageRead, Restarted, TextPiece
from worker.engines.deepseek_ocr.request import PageRequest

ANSWER = (
    "<|ref|>title<|/ref|><|det|>[[101, 52, 893, 97]]<|/det|>\n# Rechnung 4711 — 発票 😀\n\n"
    "<|ref|>table<|/ref|><|det|>[[100, 200, 900, 500]]<|/det|>\n"
    "<table><tr><td>Süß</td><td>1.234,56 €</td></tr></table>\n\n"
    "<|ref|>image<|/ref|><|det|>[[0, 600, 499, 999]]<|/det|>\n"
)
LOOP = "never and never again on this very page and " * 200


def test_a_chosen_answer_comes_out_as_markdown_blocks_and_figures(host):
    with host.saying(ANSWER):
        pieces, read = host.read(page(7, 1240, 1754))
    table = "| Süß | 1.234,56 € |\n| --- | --- |"
    assert read.markdown == f"# Rechnung 4711 — 発票 😀\n\n{table}\n\n![](images/7_0.jpg)"
    assert "".join(pieces) == read.markdown
    assert [(block.type, block.text) for block in read.blocks] == [
        ("title", "# Rechnung 4711 — 発票 😀"), ("table", table), ("image", "![](images/7_0.jpg)"),
    ]  # fmt: skip
    assert read.blocks[0].bbox == (125, 91, 1108, 170)
    (figure,) = read.figures
    assert (figure.name, figure.bbox) == ("7_0.jpg", (0, 1053, 619, 1754))
    assert figure.jpeg.startswith(b"\xff\xd8")


def test_a_page_that_ends_by_itself_is_ok_and_counted(host):
    with host.saying(ANSWER):
        _, read = host.read(page(1, 1240, 1754))
    assert (read.status, read.reason, read.attempts) == (PageStatus.OK, None, 1)
    assert read.usage.prompt_tokens > 904
    assert read.usage.completion_tokens > 50


def test_text_comes_while_it_is_generated(host):
    block = "<|ref|>text<|/ref|><|det|>[[100, {top}, 900, {bottom}]]<|/det|>\none two three four five six seven.\n\n"
    with host.saying("".join(block.format(top=100 * i, bottom=100 * i + 80) for i in range(8))):
        pieces, read = host.read(page())
    assert len(pieces) > 3
    assert "".join(pieces) == read.markdown


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_served_by_the_one_engine(host, mode):
    with host.saying("ok"):
        _, read = host.read(page(1, 1000, 1400), Options(mode=mode))
    words = len(host.engine.model.inputs.prompt_ids(DOCUMENT))
    assert read.markdown == "ok"
    assert read.usage.prompt_tokens == 1 + MODES[mode].tokens(1000, 1400) + words


def test_pages_of_all_modes_go_through_one_step_together(host):
    async def together():
        return await asyncio.gather(*(host.pieces(page(i, 800, 600), Options(mode=m)) for i, m in enumerate(MODES, 1)))

    with host.saying("ok"):
        assert [pieces[-1].markdown for pieces in host.run(together())] == ["ok"] * len(MODES)


def test_eight_pages_at_once_say_what_they_say_alone(host):
    pages = [page(i, 300 + 90 * i, 500) for i in range(8)]

    async def together():
        return await asyncio.gather(*(host.ids(p, GUNDAM, max_tokens=12) for p in pages))

    alone = [host.run(host.ids(p, GUNDAM, max_tokens=12)) for p in pages]
    assert host.run(together()) == alone
    assert len(set(map(tuple, alone))) > 1, "the answers must depend on the pages"


def test_our_input_is_what_vllm_renders_itself(host, monkeypatch):
    engine, image = host.engine, page(3, 1191, 1684).image
    renderer = engine._vllm.renderer
    info = DeepseekOCRProcessingInfo(renderer.mm_processor.info.ctx)
    own = DeepseekOCRMultiModalProcessor(info, DeepseekOCRDummyInputsBuilder(info))
    monkeypatch.setattr(renderer, "mm_processor", own)  # the model's, which ours has replaced

    async def both():
        model = engine._vllm.model_config
        prompt = parse_model_prompt(model, {"prompt": DOCUMENT, "multi_modal_data": {"image": image}})
        (theirs,) = await renderer.render_cmpl_async([prompt])
        request = PageRequest(DOCUMENT, GUNDAM)
        ours = engine.model.engine_input(engine.model.first(request), await engine.prepare(image, request))
        bos = engine.model.inputs.token("<｜begin▁of▁sentence｜>")
        theirs["prompt_token_ids"] = [bos, *(i for i in theirs["prompt_token_ids"] if i != bos)]
        assert theirs["prompt_token_ids"] == ours["prompt_token_ids"]
        positions = theirs["mm_placeholders"]["image"][0]
        theirs["mm_placeholders"] = {"image": [type(positions)(offset=1, length=positions.length)]}
        return [
            [i async for o in _generated(engine, given) for i in o.outputs[0].token_ids] for given in (ours, theirs)
        ]

    ours, theirs = host.run(both())
    assert ours == theirs


def _generated(engine, given):
    attempt = engine.model.first(PageRequest(DOCUMENT, GUNDAM))
    return engine.generate(given, engine.sampling(attempt, len(given["prompt_token_ids"]), max_tokens=40))


def test_the_ngram_rule_reaches_the_sampler(host):
    async def grams(**extra):
        ids = await host.ids(page(), GUNDAM, max_tokens=120, ignore_eos=True, extra_args=extra)
        return len(ids) - 3 - len({tuple(ids[i : i + 4]) for i in range(len(ids) - 3)})

    assert host.run(grams()) > 20
    assert host.run(grams(ngram_size=4, window_size=200)) == 0


def test_a_blank_page_is_skipped_before_it_costs_anything(host):
    before = host.engine.describe().metrics["prompt_tokens_total"]
    pieces, read = host.read(PageImage(2, Image.new("RGB", (1240, 1754), (250, 248, 240))))
    assert (pieces, read.status, read.reason, read.markdown) == ([], PageStatus.SKIPPED, "blank", "")
    assert host.engine.describe().metrics["prompt_tokens_total"] == before


def test_a_looping_page_is_read_again_and_only_the_last_reading_counts(host):
    with host.saying(LOOP, "all is well") as made:
        pieces, read = host.read(page())
    at = pieces.index(Restarted("repetition"))
    assert "never and never" in "".join(pieces[:at])
    assert "".join(pieces[at + 1 :]) == read.markdown == "all is well"
    assert (read.status, read.attempts) == (PageStatus.OK, 2)
    assert [params.extra_args["window_size"] for params in made] == [NGRAM.window, STRONGER.window]


def test_a_page_that_always_loops_is_degraded_with_its_text(host):
    with host.saying(LOOP) as made:
        pieces, read = host.read(page())
    assert (read.status, read.reason, read.attempts) == (PageStatus.DEGRADED, "repetition", 5)
    assert read.markdown.startswith("never and never again")
    assert pieces.count(Restarted("repetition")) == 4
    assert [params.temperature for params in made] == [0, 0, 0, 0.2, 0.5]
    assert read.usage.completion_tokens < 5 * 700, "a loop must be stopped long before the page is full"


def test_a_callers_own_prompt_is_not_replaced_on_the_way_up(host):
    seen = []
    plain = host.engine.model.inputs.engine_input
    host.engine.model.inputs.engine_input = lambda prompt, views: (seen.append(prompt), plain(prompt, views))[1]
    try:
        with host.saying(LOOP):
            host.read(page(), Options(prompt="What is the total?"))
            host.read(page())
    finally:
        del host.engine.model.inputs.engine_input
    assert set(seen[:4]) == {"<image>\nWhat is the total?"}
    assert seen[4:] == [DOCUMENT, DOCUMENT, FREE_OCR, DOCUMENT, DOCUMENT]


def test_a_page_too_long_for_its_tokens_is_degraded_after_one_more_try(host):
    words = " ".join(f"{i * 7919 % 100003}" for i in range(400))
    with host.saying(words, max_tokens=400) as made:
        _, read = host.read(page())
    assert (read.status, read.reason, len(made)) == (PageStatus.DEGRADED, "length", 2)
    assert words.startswith(read.markdown)
    assert len(read.markdown) > 400


@pytest.mark.parametrize("prompt", ["<image> and <image>", "say <|det|>", "<｜end▁of▁sentence｜>"])
def test_a_prompt_with_special_tokens_is_refused(host, prompt):
    with pytest.raises(BadPrompt, match="special token"):
        host.read(page(), Options(prompt=prompt))


def test_a_prompt_that_leaves_no_room_is_refused(host):
    with pytest.raises(PromptTooLong):
        host.read(page(), Options(prompt="word " * 3000))


def test_a_refused_page_leaves_the_others_alone(host):
    async def both():
        good = asyncio.create_task(host.pieces(page()))
        with pytest.raises(BadPrompt):
            await host.pieces(page(), Options(prompt="<image>"))
        return await good

    with host.saying("still here"):
        assert host.run(both())[-1].markdown == "still here"


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_page_nobody_wants_any_more_frees_its_place_in_the_engine(host, how):
    async def running(count):
        async with asyncio.timeout(30):
            while host.engine.describe().metrics.get("running_requests") != count:
                await asyncio.sleep(0.01)

    async def scene():
        kept = asyncio.create_task(host.pieces(page(1)))
        reading = host.engine.read(page(2), Options())
        coming = asyncio.create_task(anext(reading))  # a page's first block is given out when it has ended
        await running(2)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        if how == "closed":
            await reading.aclose()
        await running(1)
        kept.cancel()
        await asyncio.gather(kept, return_exceptions=True)
        return host.engine._liveness.reading

    with host.saying(" ".join(f"{i * 7919 % 100003}" for i in range(4000))):
        assert host.run(scene()) == 0


def test_the_engine_gives_its_own_account(host):
    with host.saying("ok"):
        host.read(page())
    info = host.engine.describe()
    assert (info.name, info.model, info.slots, info.state) == ("deepseek-ocr", "deepseek-ai/DeepSeek-OCR", 8, "ready")
    assert info.modes == ("tiny", "small", "base", "large", "gundam")
    assert info.prompts
    assert info.version.startswith("vllm 0.")
    assert info.metrics["finish_stop_total"] >= 1
    assert {"running_requests", "waiting_requests", "kv_cache_usage", "generation_tokens_total"} <= set(info.metrics)


def test_reading_ends_with_exactly_one_page(host):
    async def count():
        async with aclosing(host.engine.read(page(), Options())) as pieces:
            return [isinstance(piece, PageRead) async for piece in pieces]

    with host.saying("a b c"):
        ends = host.run(count())
    assert ends.index(True) == len(ends) - 1


def test_the_text_that_a_pdf_carries_is_taken_when_it_is_given(host):
    lines = (TextPiece("What the PDF says.", (20.0, 20.0, 200.0, 32.0)),)
    pieces, read = host.read(PageImage(1, page().image, lines))
    assert "".join(pieces) == read.markdown == "What the PDF says."
    assert len(read.blocks) == 1


def test_the_picture_is_left_as_it_was(host):
    given = page()
    before = given.image.tobytes()
    with host.saying("ok"):
        host.read(given)
    assert given.image.tobytes() == before
