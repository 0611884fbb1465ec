"""Damage files and send them through the check and the renderer: ``python -m benchmarks.fuzz_uploads [FOLDER...]``.

Files of the folders, and small ones of every kind, get bytes overwritten, cut out, doubled, put in and swapped between
them. A finding is any error but the service's own, a file that is taken and then cannot be opened, or a hang. Each is
printed with its seed, which makes the same file again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

from PIL import Image

from gateway.inspector import Inspector
from gateway.settings import GatewaySettings
from shared.errors import FileValidationError, OptionError, PreprocessingError
from shared.upload_check import Asked
from worker.render import Renderer
from worker.settings import WorkerSettings

KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000")
LARGEST = 2_000_000
"""Bytes of a file that is damaged: the larger ones only take longer."""

HANG = 120.0


def sources(folders: list[Path]) -> list[bytes]:
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [*map(small, KINDS), *(path.read_bytes() for path in files if 0 < path.stat().st_size <= LARGEST)]


def small(kind: str) -> bytes:
    buffer = BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def damaged(files: list[bytes], seed: int) -> bytes:
    dice = random.Random(seed)
    data = bytearray(dice.choice(files))
    for _ in range(dice.choice((1, 1, 2, 4, 8, 30))):
        at, size = dice.randrange(len(data) + 1), dice.choice((1, 2, 4, 30, 500))
        match dice.randrange(6):
            case 0:
                data[at : at + size] = dice.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                data[at:at] = dice.randbytes(size)
            case 4:
                other = dice.choice(files)
                begin = dice.randrange(len(other))
                data[at : at + size] = other[begin : begin + size]
            case _:
                digits = [i for i in range(at, min(len(data), at + 4000)) if 48 <= data[i] <= 57]
                if digits:
                    data[dice.choice(digits)] = dice.randrange(48, 58)
    return bytes(data)


class Fuzzer:
    def __init__(self) -> None:
        self._inspector = Inspector(GatewaySettings(_env_file=None, inspect_processes=1, inspect_timeout=10))
        self._renderer = Renderer(WorkerSettings(_env_file=None, render_processes=1, render_timeout=10))
        self.verdicts: Counter[str] = Counter()

    async def close(self) -> None:
        await self._inspector.close()
        await self._renderer.close()

    async def try_out(self, data: bytes) -> None:
        """Raises what is a finding."""
        async with asyncio.timeout(HANG):
            try:
                info = await self._inspector.inspect(data, Asked())
            except (FileValidationError, OptionError) as error:
                self.verdicts[error.code] += 1
                return
            self.verdicts["taken"] += 1
            await self._draw(data, info.media_type, info.numbers[:2])

    async def _draw(self, data: bytes, media_type: str, numbers: tuple[int, ...]) -> None:
        try:
            upload = await self._renderer.open(data, media_type)
        except PreprocessingError as error:  # not looked at within the time: on a busy machine
            self.verdicts[f"open {error.code}"] += 1
            return
        try:
            for number in numbers:
                try:
                    page = await self._renderer.page(upload, number, text_layer=True)
                except PreprocessingError as error:
                    self.verdicts[f"page {error.code}"] += 1
                else:
                    self.verdicts["page drawn"] += 1
                    page.image.close()
        finally:
            upload.close()


async def main(folders: list[Path], minutes: float, seed: int) -> int:
    files, fuzzer, findings = sources(folders), Fuzzer(), 0
    end = time.monotonic() + 60 * minutes
    first = seed
    while time.monotonic() < end:
        try:
            await fuzzer.try_out(damaged(files, seed))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what is looked for here
            findings += 1
            print(f"seed {seed}: {error!r}", flush=True)
        seed += 1
    await fuzzer.close()
    print(f"{seed - first} files damaged from {len(files)}, {findings} findings: {dict(fuzzer.verdicts)}")
    return 1 if findings else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="*", type=Path)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.folder, given.minutes, given.seed)))
