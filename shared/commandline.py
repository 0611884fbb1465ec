"""The command line of programs that take their settings from the environment."""

from __future__ import annotations

import argparse


def no_arguments(program: str, description: str | None) -> None:
    """Print the help and exit for ``--help``; refuse every other argument with exit code 2."""
    parser = argparse.ArgumentParser(
        f"python -m {program}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
