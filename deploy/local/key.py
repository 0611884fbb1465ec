"""``python -m deploy.local.key NAME [--port N]``: make an API key of a service that ``make run`` has started."""

from __future__ import annotations

import argparse
import os
import sys

from pydantic import ValidationError

from deploy.local.folder import ROOT, Folder
from gateway import keys
from gateway.settings import GatewaySettings
from shared.settings import explain


def main() -> None:
    parser = argparse.ArgumentParser("make key", description="Make an API key of the service that runs here.")
    parser.add_argument("name", help="whose key it is (NAME)")
    parser.add_argument("--port", type=int, help="of the running service (PORT); default: the setting PORT")
    given, more = parser.parse_known_args()
    try:
        port = given.port or GatewaySettings(_env_file=ROOT / ".env").port
    except ValidationError as error:
        sys.exit(explain(error))
    url = Folder.store_url_of(port)
    if url is None:
        sys.exit(f"nothing runs on port {port}: make run first, or say PORT=")
    os.environ["REDIS_URL"] = url
    keys.main(["create", given.name, *more])
    print("From now on every request needs a key: Authorization: Bearer KEY", file=sys.stderr)


if __name__ == "__main__":
    main()
