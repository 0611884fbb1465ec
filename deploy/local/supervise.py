"""``python -m deploy.local.supervise PARENT CONFIG [FOLDER]``: supervisord, until TERM or its parent's end.

A temporary FOLDER is removed at the end: the launcher may not be there any more to do it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys

from supervisor import supervisord

from shared.process import die_with_parent


def main(parent: str, config: str, folder: str | None = None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until supervisord sets its own
    die_with_parent(signal.SIGTERM)
    try:
        if os.getppid() == int(parent):
            supervisord.main(["-n", "-c", config])
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
