"""Where the results of a run go: to stdout, into a folder, or into one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_client.choices import BINARY_FORMATS, JOINABLE_FORMATS
from ocr_client.cli.sources import SourceFile

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Targets:
    """``folder``: None for stdout. ``file``: the one file instead. ``full_names``: ``scan.pdf.md``, not ``scan.md``."""

    formats: tuple[str, ...]
    folder: Path | None = None
    file: Path | None = None
    full_names: bool = False

    @property
    def on_stdout(self) -> bool:
        return self.folder is None and self.file is None

    def paths(self, source: SourceFile) -> dict[str, Path]:
        """Format -> the file it is written to; none on stdout."""
        if self.file is not None:
            return {self.formats[0]: self.file}
        if self.folder is None:
            return {}
        stem = source.place.name if self.full_names else source.place.stem
        return {kind: self.folder / source.place.with_name(f"{stem}.{kind}") for kind in self.formats}

    def has_all(self, source: SourceFile) -> bool:
        """Whether every result is there and newer than its file."""
        paths = self.paths(source).values()
        if not paths or source.path is None or not all(path.exists() for path in paths):
            return False
        changed = source.path.stat().st_mtime
        return all(path.stat().st_mtime >= changed for path in paths)

    def conflict(self, sources: Sequence[SourceFile]) -> str | None:
        """Why these sources cannot be written like this."""
        if self.on_stdout:
            return self._stdout_conflict(len(sources))
        seen: dict[Path, SourceFile] = {}
        for source in sources:
            for path in self.paths(source).values():
                if (other := seen.setdefault(path, source)) is not source:
                    return f"{other.label} and {source.label} would both be written to {path}; see --full-names"
        return None

    def _stdout_conflict(self, files: int) -> str | None:
        if binary := BINARY_FORMATS.intersection(self.formats):
            return f"--format {min(binary)} needs -o DIR"
        if len(self.formats) > 1:
            return "several formats need -o DIR"
        if files > 1 and self.formats[0] not in JOINABLE_FORMATS:
            return f"many files as {self.formats[0]} need -o DIR"
        return None


def targets_of(output: Path | None, formats: Sequence[str], sources: Sequence[SourceFile], full_names: bool) -> Targets:
    """``output``: None or ``-`` is stdout; ``NAME.FORMAT``, for one file in that format, a file; else a folder."""
    kinds = tuple(dict.fromkeys(map(str, formats))) or ("md",)
    if output is None or output == STDOUT:
        return Targets(kinds, full_names=full_names)
    one = len(sources) == 1 and len(kinds) == 1 and output.suffix == f".{kinds[0]}" and not output.is_dir()
    return Targets(kinds, file=output) if one else Targets(kinds, output, full_names=full_names)


def write_whole(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: first beside it, then in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
