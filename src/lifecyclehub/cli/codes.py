"""Exit codes that scripts can rely on, and how an error is told: what, where, how to mend; never a traceback."""

from __future__ import annotations

import sys
from typing import Final

from lifecyclehub.errors import ConfigurationError, HubError

OK: Final = 0
ATTENTION: Final = 1
CONFIGURATION: Final = 2
NOT_FOUND: Final = 3
INTERRUPTED: Final = 130


def told(error: HubError) -> str:
    """Write an error for people: what is wrong, where, and how to mend it, each on its line."""
    if not isinstance(error, ConfigurationError):
        return f"Error: {error}"
    lines = [f"Error: {error.what}"]
    if error.where:
        lines.append(f"Where: {error.where}")
    if error.mend:
        lines.append(f"Mend:  {error.mend}")
    return "\n".join(lines)


def tell(error: HubError) -> None:
    """Tell an error on standard error."""
    print(told(error), file=sys.stderr)
