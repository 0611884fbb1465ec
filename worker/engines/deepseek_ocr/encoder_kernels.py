"""Triton kernels of the vision towers: SAM's attention with relative positions, and CLIP's quick-GELU.

The model's own code adds SAM's relative positions as a bias of tokens x tokens: 403 MB for one layer of one view of
1024 pixels, written, read and padded for the attention kernel. Here the two small factors of the bias are computed
(one row and one column value a token) and added where the scores are.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _relative_kernel(
    qkv, table, out, K, WIDTH, N,
    H: tl.constexpr, D: tl.constexpr, AXIS: tl.constexpr, BL: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[b, h, n, k] = q[b, n, h] . table[line, k]; ``line``: the row (AXIS 0) or the column (AXIS 1) of token n."""
    line = tl.program_id(0)
    bh = tl.program_id(1).to(tl.int64)
    b, h = bh // H, bh % H
    along = tl.arange(0, BL)
    k = tl.arange(0, BK)
    d = tl.arange(0, D)
    if AXIS == 0:
        n, here = line * WIDTH + along, along < WIDTH
    else:
        n, here = along * WIDTH + line, along * WIDTH < N
    q = tl.load(qkv + (b * N + n[:, None]) * (3 * H * D) + h * D + d[None, :], mask=here[:, None], other=0.0)
    t = tl.load(table + (line * K + k[:, None]) * D + d[None, :], mask=k[:, None] < K, other=0.0)
    r = tl.dot(q, tl.trans(t))
    tl.store(
        out + (bh * N + n[:, None]) * K + k[None, :], r.to(out.dtype.element_ty), mask=here[:, None] & (k[None, :] < K)
    )


@triton.jit
def _attention_kernel(
    qkv, rel_h, rel_w, out, scale, N, KH, KW,
    H: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, ROWS: tl.constexpr, CW: tl.constexpr,
):  # fmt: skip
    """softmax(q k^T scale + rel_h[row of k] + rel_w[column of k]) v, keys taken ROWS rows of CW >= KW at a time."""
    LOG2E: tl.constexpr = 1.4426950408889634
    BN: tl.constexpr = ROWS * CW
    bh = tl.program_id(1).to(tl.int64)
    b, h = bh // H, bh % H
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    in_m = m < N
    d = tl.arange(0, D)
    at = tl.arange(0, BN)
    r, c = at // CW, at % CW
    base = qkv + b * N * (3 * H * D) + h * D
    q = tl.load(base + m[:, None] * (3 * H * D) + d[None, :], mask=in_m[:, None], other=0.0)
    width = rel_w + (bh * N + m) * KW
    bias_w = tl.load(width[:, None] + c[None, :], mask=in_m[:, None] & (c[None, :] < KW), other=0.0)
    bias_w = tl.where(c[None, :] < KW, bias_w.to(tl.float32) * LOG2E, -float("inf"))
    height = rel_h + (bh * N + m) * KH
    top = tl.full([BM], -1.0e30, tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    for row in range(0, KH, ROWS):
        key = (row + r) * KW + c
        there = (c < KW) & (row + r < KH)
        k = tl.load(base + H * D + key[:, None] * (3 * H * D) + d[None, :], mask=there[:, None], other=0.0)
        v = tl.load(base + 2 * H * D + key[:, None] * (3 * H * D) + d[None, :], mask=there[:, None], other=0.0)
        s = tl.dot(q, tl.trans(k)) * (scale * LOG2E) + bias_w
        if ROWS == 1:
            s += tl.load(height + row, mask=in_m, other=0.0).to(tl.float32)[:, None] * LOG2E
        else:
            in_h = row + r[None, :] < KH
            bias_h = tl.load(height[:, None] + row + r[None, :], mask=in_m[:, None] & in_h, other=0.0)
            s = tl.where(in_h, s + bias_h.to(tl.float32) * LOG2E, -float("inf"))
        new = tl.maximum(top, tl.max(s, 1))
        p = tl.exp2(s - new[:, None])
        shrink = tl.exp2(top - new)
        total = total * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(v.dtype), v)
        top = new
    acc = acc / total[:, None]
    tl.store(
        out + (b * N + m[:, None]) * (H * D) + h * D + d[None, :], acc.to(out.dtype.element_ty), mask=in_m[:, None]
    )


@triton.jit
def _quick_gelu_kernel(x, n, B: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    v = tl.load(x + at, mask=at < n).to(tl.float32)
    tl.store(x + at, (v / (1.0 + tl.exp(-1.702 * v))).to(x.dtype.element_ty), mask=at < n)


TILINGS = {64: (128, 1, 64, 8, 3), 40: (128, 1, 64, 8, 3), 14: (64, 4, 16, 4, 3)}
"""By tokens on a side: BM, ROWS, CW, warps, stages. Measured on an H100: 282, 174 and 60 TFLOP/s."""


def tiling_for(side: int) -> tuple[int, int, int, int, int]:
    columns = _power_of_two(side)
    return TILINGS.get(side, (128, max(1, 64 // columns), columns, 8, 2))


def attention(
    qkv: torch.Tensor, table_h: torch.Tensor, table_w: torch.Tensor, height: int, width: int, heads: int,
    tiling: tuple[int, int, int, int, int] | None = None,
) -> torch.Tensor:  # fmt: skip
    """``qkv``: [B, height * width, 3 * heads * D], contiguous -> [B, height * width, heads * D].

    ``table_h``: [height, height, D], the relative positions' vectors of each row and key row; ``table_w`` likewise.
    """
    batch, n, wide = qkv.shape
    dim = wide // (3 * heads)
    rel_h, rel_w = (qkv.new_empty(batch, heads, n, side) for side in (height, width))
    high, broad = _power_of_two(height), _power_of_two(width)
    _launch(_relative_kernel, (height, batch * heads), qkv, table_h, rel_h, height, width, n,
            H=heads, D=dim, AXIS=0, BL=broad, BK=high)  # fmt: skip
    _launch(_relative_kernel, (width, batch * heads), qkv, table_w, rel_w, width, width, n,
            H=heads, D=dim, AXIS=1, BL=high, BK=broad)  # fmt: skip
    out = qkv.new_empty(batch, n, heads * dim)
    block, rows, columns, warps, stages = tiling or tiling_for(width)
    _launch(_attention_kernel, (triton.cdiv(n, block), batch * heads), qkv, rel_h, rel_w, out, dim**-0.5, n, height,
            width, H=heads, D=dim, BM=block, ROWS=rows, CW=columns, num_warps=warps, num_stages=stages)  # fmt: skip
    return out


def quick_gelu_(x: torch.Tensor) -> torch.Tensor:
    """x * sigmoid(1.702 x), in place; ``x`` is contiguous."""
    count = x.numel()
    _launch(_quick_gelu_kernel, (triton.cdiv(count, 4096),), x, count, B=4096)
    return x


def _launch(kernel: Any, grid: tuple[int, ...], *args: Any, **more: Any) -> None:
    kernel[grid](*args, **more)


def _power_of_two(side: int) -> int:
    return max(16, int(triton.next_power_of_2(side)))
