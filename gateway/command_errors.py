"""What ends a command of the gateway, in one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from shared.errors import OCRError
from shared.settings import explain


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with one line where the settings, the store or an argument are to blame."""
    try:
        yield
    except ValidationError as error:
        sys.exit(explain(error))
    except OCRError as error:
        sys.exit(error.detail)
    except ValueError as error:
        sys.exit(str(error))
