import random

import pytest

from deepseek_ocr.modes import GUNDAM, MODES, grids

# The counts of the published table, restated.
COUNTS = {
    (1, 1): 273, (2, 1): 483, (1, 2): 493, (3, 1): 583, (1, 3): 603, (4, 1): 683, (2, 2): 693, (1, 4): 713,
    (5, 1): 783, (1, 5): 823, (6, 1): 883, (3, 2): 893, (2, 3): 903, (1, 6): 933,
}  # fmt: skip


def test_gundam_counts_are_the_published_ones():
    assert {grid: GUNDAM.tokens_of(grid) for grid in ((1, 1), *grids())} == COUNTS


@pytest.mark.parametrize(("name", "tokens"), [("tiny", 73), ("small", 111), ("base", 273), ("large", 421)])
def test_a_mode_without_tiles_always_takes_the_same_tokens(name, tokens):
    assert {MODES[name].tokens(w, h) for w, h in ((1, 1), (640, 640), (2480, 3508))} == {tokens}


@pytest.mark.parametrize(
    ("width", "height", "grid"),
    [
        (640, 640, (1, 1)), (641, 640, (2, 2)), (1191, 1684, (2, 3)), (1224, 1584, (2, 3)), (1684, 1191, (3, 2)),
        (1920, 1080, (2, 1)), (1024, 768, (3, 2)), (600, 5000, (1, 6)), (4000, 500, (6, 1)),
    ],
)  # fmt: skip
def test_a_page_is_cut_into_the_grid_nearest_to_its_shape(width, height, grid):
    assert GUNDAM.grid(width, height) == grid


def test_ten_thousand_sizes_agree_with_an_independent_statement_of_the_rule():
    rng = random.Random(4)
    for _ in range(10_000):
        width, height = rng.randint(1, 6400), rng.randint(1, 6400)
        assert GUNDAM.tokens(width, height) == restated(width, height)


def restated(width, height):
    """The rule in other words: the fewest tiles among the nearest shapes, or the most the page has pixels for."""
    if max(width, height) <= 640:
        return 273
    distances = {grid: abs(width / height - grid[0] / grid[1]) for grid in COUNTS if grid != (1, 1)}
    nearest = [grid for grid, off in distances.items() if off == min(distances.values())]
    nearest.sort(key=lambda grid: grid[0] * grid[1])
    large = [grid for grid in nearest[1:] if width * height > 204_800 * grid[0] * grid[1]]
    columns, rows = (nearest[:1] + large)[-1]
    return 1 + 16 * 17 + 10 * rows * (10 * columns + 1)
