"""Runs the commands of the docs' ``console`` blocks against a running service and puts their real output below them.

``python -m tools.transcript [URL]`` rewrites README.md and docs/quickstart.md. In a block, a line that begins with
``$ `` is a command (bash); all up to the next one is its output. The docs write the service's address as ``URL``; a
job's id stands for the last job that an output named.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "quickstart.md")
URL = "http://127.0.0.1:8000"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
JOB = re.compile(r"(?<=/jobs/)[0-9A-HJKMNP-TV-Z]{26}")
SECONDS = 120


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Command and output, one after the other."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


class Shell:
    """Runs commands at ``url``; remembers the job that was last heard of."""

    def __init__(self, url: str) -> None:
        self._url, self._job = url, ""

    def run(self, command: str) -> tuple[str, str]:
        """The command as it was run and its output, both with the docs' address."""
        mine = JOB.sub(self._job, command) if self._job else command
        done = subprocess.run(
            ["bash", "-c", mine.replace(URL, self._url)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        output = done.stdout.replace("\r", "").replace(self._url, URL).rstrip("\n") + "\n"
        self._job = (JOB.findall(output) or [self._job])[-1]
        return mine, output


def renewed(text: str, shell: Shell) -> str:
    def block(found: re.Match[str]) -> str:
        return "".join("$ {}\n{}".format(*shell.run(command)) for command, _ in steps(found[0]))

    return BLOCK.sub(block, text)


def main(url: str = URL) -> None:
    shell = Shell(url)
    for page in PAGES:
        page.write_text(renewed(page.read_text(), shell))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m tools.transcript", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?", default=URL)
    main(parser.parse_args().url)
