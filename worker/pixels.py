"""A picture's pixels through memory that processes share: 8-bit RGB, rows of pixels."""

from __future__ import annotations

import os
from mmap import mmap
from typing import BinaryIO

from PIL import Image

CHANNELS = 3
HEAD = 64
"""Bytes to leave for what ``write`` puts before the pixels, at most."""


def write(image: Image.Image, file: BinaryIO) -> int:
    """Write an RGB image to a file that is at its begin; returns where the pixels begin.

    As a PPM: of all that Pillow offers only its writers go from its memory into a file without copies between.
    """
    image.save(file, "PPM")
    return os.lseek(file.fileno(), 0, os.SEEK_CUR) - image.width * image.height * CHANNELS


def read(memory: mmap, begin: int, width: int, height: int, stride: int | None = None) -> Image.Image:
    """The image whose pixels begin at byte ``begin``; ``stride``: bytes from row to row."""
    with memoryview(memory)[begin:] as pixels:
        return Image.frombytes("RGB", (width, height), pixels, "raw", "RGB", stride or width * CHANNELS)
