"""What we say of a page against what vLLM's own processor makes of it."""

import random

import pytest
import torch
from PIL import Image
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRProcessingInfo, NoRepeatNGramLogitsProcessor
from vllm.transformers_utils.processors.deepseek_ocr import ImageTransform, count_tiles, dynamic_preprocess

from deepseek_ocr.modes import GUNDAM
from deepseek_ocr.tiling import tiles, whole
from worker.engines.deepseek_ocr.encoder import normalise
from worker.engines.vllm_host.ngram import banned


def sizes(count):
    rng = random.Random(1)
    return [(rng.randint(1, rng.choice((700, 6400))), rng.randint(1, rng.choice((700, 6400)))) for _ in range(count)]


def test_token_counts_are_vllms_for_ten_thousand_sizes():
    for width, height in sizes(10_000):
        theirs = DeepseekOCRProcessingInfo.get_num_image_tokens(None, image_width=width, image_height=height)
        assert GUNDAM.tokens(width, height) == theirs, (width, height)


def test_grids_are_vllms_for_ten_thousand_sizes():
    for width, height in sizes(10_000):
        if max(width, height) > 640:
            assert GUNDAM.grid(width, height) == count_tiles(width, height), (width, height)


@pytest.mark.parametrize(("width", "height"), [(300, 900), (1191, 1684), (1920, 1080), (641, 640), (50, 3000)])
def test_tiles_are_vllms_pixel_by_pixel(width, height):
    image = noise(width, height)
    theirs, grid = dynamic_preprocess(image)
    ours = list(tiles(image, GUNDAM, GUNDAM.grid(width, height)))
    assert grid == GUNDAM.grid(width, height)
    assert [tile.tobytes() for tile in ours] == [tile.tobytes() for tile in theirs]


def test_numbers_are_vllms_bit_by_bit():
    view = whole(noise(700, 900), GUNDAM)
    theirs = ImageTransform()(view).to(torch.bfloat16)
    rows = torch.frombuffer(bytearray(view.tobytes()), dtype=torch.uint8).view(1, 1024, 1024, 3)
    assert torch.equal(normalise(rows, torch.bfloat16)[0], theirs)


def test_the_ngram_rule_bans_what_vllms_bans():
    rng, bans = random.Random(2), 0
    for _ in range(20_000):
        size, window = rng.randint(2, 6), rng.randint(1, 40)
        output = [rng.randrange(3) for _ in range(rng.randint(0, 60))]
        theirs = NoRepeatNGramLogitsProcessor(size, window)(output, torch.zeros(3)).isinf().nonzero().flatten()
        assert banned(output, size, window) == set(theirs.tolist()), (output, size, window)
        bans += len(theirs)
    assert bans > 10_000


def noise(width, height):
    return Image.effect_noise((width, height), 90).convert("RGB")
