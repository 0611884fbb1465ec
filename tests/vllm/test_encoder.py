"""Our encoder, which takes the pages of a step together and in any mode, against the model's own, page by page."""

import subprocess
import sys
from importlib.util import find_spec

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


TOWERS = """
import torch
from transformers import CLIPVisionConfig
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import init_distributed_environment, initialize_model_parallel
from vllm.model_executor.models.deepencoder import DeepCLIPVisionTransformer, _build_sam
from worker.engines.deepseek_ocr.towers import Towers

with set_current_vllm_config(VllmConfig()):
    init_distributed_environment(1, 0, "file://{folder}/store", 0, "gloo")
    initialize_model_parallel(1, 1)
    model = torch.nn.Module()
    model.sam_model = _build_sam(128, 3, 2, [1])  # windows, the whole picture, windows
    model.vision_model = DeepCLIPVisionTransformer(CLIPVisionConfig(
        hidden_size=1024, intermediate_size=512, num_attention_heads=16, num_hidden_layers=2, image_size=224,
        patch_size=14, projection_dim=512, layer_norm_eps=1e-5))
    model.projector = torch.nn.Linear(2048, 64)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.3 if "rel_pos" in name else 0.05)
        if "norm" in name and name.endswith("weight"):
            parameter.data += 1
    for module in model.modules():
        method = getattr(module, "quant_method", None)
        if hasattr(method, "process_weights_after_loading"):
            method.process_weights_after_loading(module)
    with torch.inference_mode():
        for size, count in ((512, 2), (640, 3), (1024, 1), (1280, 1)):
            pixels = torch.randn(count, 3, size, size)
            sam = model.sam_model(pixels)
            clip = model.vision_model(pixels, sam)
            theirs = model.projector(torch.cat((clip[:, 1:], sam.flatten(2).permute(0, 2, 1)), -1))
            ours = Towers(model)(pixels)
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
            assert theirs.std() > 0.05
print("equal")
"""


def test_our_towers_are_the_models_own_at_every_size_of_view(tmp_path):
    """In a process of its own: vLLM's linear layers want its distributed state."""
    script = TOWERS.replace("{folder}", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("equal\n"), done.stderr[-3000:]


KERNELS = """
import os
os.environ["TRITON_INTERPRET"] = "1"
import torch
from worker.engines.deepseek_ocr import encoder_kernels as kernels, encoder_twins as twins

torch.manual_seed(0)
for side, tilings in ((14, [(64, 4, 16, 4, 1), (64, 1, 16, 4, 1)]), (20, [(128, 2, 32, 4, 1)]), (32, [None])):
    qkv = torch.randn(2, side * side, 3 * 2 * 64)
    tables = torch.randn(2, side, side, 64) * 0.3
    wanted = twins.attention(qkv, *tables, side, side, 2)
    for tiling in tilings:
        torch.testing.assert_close(kernels.attention(qkv, *tables, side, side, 2, tiling), wanted, rtol=1e-3, atol=1e-4)
x = torch.randn(3, 1000)
torch.testing.assert_close(kernels.quick_gelu_(x.clone()), twins.quick_gelu_(x.clone()), rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: it has no backend for CPUs")
def test_the_kernels_are_their_twins():
    done = subprocess.run([sys.executable, "-c", KERNELS], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("equal\n"), done.stderr[-3000:]
