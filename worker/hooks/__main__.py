"""``python -m worker.hooks``: the former name of ``python -m worker.webhooks``."""

from worker.webhooks.__main__ import main

if __name__ == "__main__":
    main()
