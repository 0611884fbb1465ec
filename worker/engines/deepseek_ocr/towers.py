"""The two vision towers over a batch of views: the model's weights and mathematics, without its copies.

Attention of SAM in one kernel, windows cut without a copy of q, k and v, tables of positions interpolated once, and
CUDA graphs for the batches of a single page, whose 600 kernels take longer to launch than to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import gelu, layer_norm, pad, scaled_dot_product_attention
from vllm.model_executor.models.deepencoder import get_rel_pos


class Towers:
    """``model``: an instance of the model's class, its weights loaded by the time this is called."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept: dict[Any, Any] = {}
        self._graphs: dict[tuple[int, ...], Graph] = {}

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] of the model's dtype -> [B, tokens, width of the language model]."""
        graph = self._graphs.get(tuple(pixels.shape))
        return graph(pixels) if graph else self.run(pixels)

    def capture(self, pixels: torch.Tensor) -> None:
        """From now on batches of this shape run as one CUDA graph."""
        self._graphs[tuple(pixels.shape)] = Graph(self.run, pixels)

    def run(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self._sam(pixels)
        tokens = self._clip(features)
        both = torch.cat((tokens[:, 1:], features.flatten(2).permute(0, 2, 1)), dim=-1)
        projected: torch.Tensor = self._model.projector(both)
        return projected

    # -- SAM

    def _sam(self, pixels: torch.Tensor) -> torch.Tensor:
        sam = self._model.sam_model
        x = sam.patch_embed(pixels)
        side = x.shape[1]
        x = x + self._once(("sam", side), lambda: sam.get_abs_pos(sam.pos_embed, side))
        for block in sam.blocks:
            x = self._block(block, x)
        features: torch.Tensor = sam.net_3(sam.net_2(sam.neck(x.permute(0, 3, 1, 2))))
        return features

    def _block(self, block: Any, x: torch.Tensor) -> torch.Tensor:
        """``x``: [B, rows, columns, channels]."""
        y = _norm(x, block.norm1)
        x = x + (self._windows(block, y) if block.window_size else self._whole(block, y))
        y = gelu(block.mlp.lin1(_norm(x, block.norm2)))
        return x.add_(block.mlp.lin2(y))

    def _whole(self, block: Any, y: torch.Tensor) -> torch.Tensor:
        batch, rows, columns, channels = y.shape
        y = self._attention(block.attn, y.reshape(batch, rows * columns, channels), rows, columns)
        return y.view(batch, rows, columns, channels)

    def _windows(self, block: Any, y: torch.Tensor) -> torch.Tensor:
        batch, rows, columns, channels = y.shape
        side = block.window_size
        y = pad(y, (0, 0, 0, -columns % side, 0, -rows % side))
        down, right = y.shape[1] // side, y.shape[2] // side
        y = y.view(batch, down, side, right, side, channels).transpose(2, 3).reshape(-1, side * side, channels)
        y = self._attention(block.attn, y, side, side)
        y = y.view(batch, down, right, side, side, channels).transpose(2, 3)
        return y.reshape(batch, down * side, right * side, channels)[:, :rows, :columns]

    def _attention(self, attn: Any, y: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        tables = self._once((attn, rows, columns), lambda: _tables(attn, rows, columns))
        qkv = attn.qkv(y)
        projected: torch.Tensor = attn.proj(_ops(qkv).attention(qkv, *tables, rows, columns, attn.num_heads))
        return projected

    # -- CLIP

    def _clip(self, features: torch.Tensor) -> torch.Tensor:
        clip = self._model.vision_model
        tokens = features.flatten(2).transpose(1, 2)
        places = clip.embeddings
        x = torch.cat([places.class_embedding.expand(tokens.shape[0], 1, -1), tokens], dim=1)
        count = x.shape[1]
        x = x + self._once(
            ("clip", count), lambda: places.get_abs_pos(places.position_embedding(places.position_ids), count)
        )
        x = _norm(x, clip.pre_layrnorm)
        for layer in clip.transformer.layers:
            x = _clip_layer(layer, x)
        return x

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


class Graph:
    """``run`` over a batch of one shape, recorded. The result is the caller's until the next call of any graph."""

    pool: Any = None

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor) -> None:
        self._input = example.clone()
        run(self._input)  # what is compiled or looked up at a first call
        torch.cuda.synchronize()
        if Graph.pool is None:
            Graph.pool = torch.cuda.graph_pool_handle()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=Graph.pool, capture_error_mode="thread_local"):
            self._output = run(self._input)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.clone()


def _clip_layer(layer: Any, x: torch.Tensor) -> torch.Tensor:
    batch, count, channels = x.shape
    attn, heads = layer.self_attn, layer.self_attn.num_heads
    qkv = _linear(attn.qkv_proj, _norm(x, layer.layer_norm1))
    q, k, v = qkv.view(batch, count, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
    y = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, count, channels)
    x = x + _linear(attn.out_proj, y)
    y = _linear(layer.mlp.fc1, _norm(x, layer.layer_norm2))
    return x.add_(_linear(layer.mlp.fc2, _ops(y).quick_gelu_(y)))


def _linear(module: Any, x: torch.Tensor) -> torch.Tensor:
    """vLLM's linear layers answer with their bias beside."""
    out: torch.Tensor = module(x)[0]
    return out


def _norm(x: torch.Tensor, norm: Any) -> torch.Tensor:
    return layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _tables(attn: Any, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        get_rel_pos(rows, rows, attn.rel_pos_h).contiguous(),
        get_rel_pos(columns, columns, attn.rel_pos_w).contiguous(),
    )


def _ops(x: torch.Tensor) -> Any:
    if x.is_cuda:
        from worker.engines.deepseek_ocr import encoder_kernels  # Triton is not there without a GPU

        return encoder_kernels
    from worker.engines.deepseek_ocr import encoder_twins

    return encoder_twins
