"""What ``encoder_kernels`` computes, in PyTorch: for machines without a GPU, and to measure the kernels against."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention


def attention(
    qkv: torch.Tensor, table_h: torch.Tensor, table_w: torch.Tensor, height: int, width: int, heads: int
) -> torch.Tensor:
    """See ``encoder_kernels.attention``."""
    batch, n, wide = qkv.shape
    q, k, v = qkv.view(batch, n, 3, heads, wide // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)
    placed = q.unflatten(2, (height, width))
    rel_h = torch.einsum("bnhwc,hkc->bnhwk", placed, table_h)[..., None]
    rel_w = torch.einsum("bnhwc,wkc->bnhwk", placed, table_w)[..., None, :]
    bias = (rel_h + rel_w).reshape(batch, heads, n, n)
    return scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).reshape(batch, n, wide // 3)


def quick_gelu_(x: torch.Tensor) -> torch.Tensor:
    """See ``encoder_kernels.quick_gelu_``."""
    return x.mul_(torch.sigmoid(1.702 * x))
