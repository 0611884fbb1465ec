"""``python -m ocr_client.cli``: as ``ocr``."""

from __future__ import annotations

from ocr_client.cli.main import main

if __name__ == "__main__":
    main()
