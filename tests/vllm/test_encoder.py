"""Our encoder, which takes the pages of a step together and in any mode, against the model's own, page by page."""

import pytest
import torch
from transformers import CLIPVisionConfig  # noqa: F401  (the model's module needs it first)
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRForCausalLM

from deepseek_ocr.modes import MODES
from worker.engines.deepseek_ocr import encoder

DIM = 8


class Model(DeepseekOCRForCausalLM):
    """The model's own assembly over towers that are one matrix each."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(0)
        self.sam = torch.nn.AvgPool2d(64)
        self.projector = torch.nn.Linear(6, DIM, bias=False)
        self.image_newline = torch.nn.Parameter(torch.randn(DIM, generator=generator))
        self.view_seperator = torch.nn.Parameter(torch.randn(DIM, generator=generator))

    def sam_model(self, pixels):
        return self.sam(pixels)

    def vision_model(self, pixels, sam):
        tokens = sam.flatten(2).permute(0, 2, 1)
        return torch.cat((tokens[:, :1], tokens.square()), dim=1)

    def towers(self, pixels):
        sam = self.sam_model(pixels)
        return self.projector(torch.cat((self.vision_model(pixels, sam)[:, 1:], sam.flatten(2).permute(0, 2, 1)), -1))


@pytest.fixture(scope="module")
def model():
    with torch.no_grad():
        yield Model().eval()


def views(grid, base=1024):
    count = grid[0] * grid[1] if grid != (1, 1) else 0
    return torch.randint(256, (base, base, 3), dtype=torch.uint8), torch.randint(
        256, (count, 640, 640, 3), dtype=torch.uint8
    )


@pytest.mark.parametrize("pages_at_once", [1, 3])
def test_pages_of_all_grids_are_encoded_as_the_model_does_it(model, pages_at_once):
    grids = [(1, 1), (2, 3), (1, 2), (1, 1), (6, 1)]
    wholes, tiles = zip(*map(views, grids), strict=True)
    given = {
        "pixel_values": torch.stack(wholes),
        "images_crop": torch.cat(tiles),
        "images_spatial_crop": torch.tensor(grids),
    }
    ours = encoder.embed(model, model.towers, pages_at_once, **given)
    theirs = model._pixel_values_to_embedding(
        encoder.normalise(given["pixel_values"], torch.float32),
        encoder.normalise(given["images_crop"], torch.float32),
        given["images_spatial_crop"],
    )
    assert [len(page) for page in ours] == [MODES["gundam"].tokens_of(grid) for grid in grids]
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its)


def test_modes_mix_in_one_step(model):
    modes = [MODES[name] for name in ("tiny", "large", "gundam", "small", "base")]
    wholes = [views((1, 1), mode.base)[0] for mode in modes]
    tiles = views((2, 1))[1]
    together = encoder.embed(
        model,
        model.towers,
        4,
        pixel_values=wholes,
        images_crop=tiles,
        images_spatial_crop=[torch.tensor((2, 1) if mode.name == "gundam" else (1, 1)) for mode in modes],
    )
    assert [len(page) for page in together] == [
        mode.tokens_of((2, 1) if mode.name == "gundam" else (1, 1)) for mode in modes
    ]


def test_grey_tiles_whose_numbers_cancel_out_are_still_tiles(model):
    """The model's own encoder takes a sum of zero for no tiles, and the engine dies of the missing vectors."""
    whole, tiles = views((2, 1))
    tiles[:, ::2], tiles[:, 1::2] = 127, 128
    given = {"pixel_values": whole[None], "images_crop": tiles, "images_spatial_crop": torch.tensor([(2, 1)])}
    assert [len(page) for page in encoder.embed(model, model.towers, 1, **given)] == [483]
