"""Exit codes that scripts can rely on, and how an error is told: what, where, how to mend; never a traceback."""

from __future__ import annotations

import sys
from typing import Final

from lifecyclehub.cli.visible import visible
from lifecyclehub.errors import ConfigurationError, HubError, NotThere

OK: Final = 0
ATTENTION: Final = 1
CONFIGURATION: Final = 2
NOT_FOUND: Final = 3
INTERRUPTED: Final = 130
_CODES: Final = ((NotThere, NOT_FOUND), (ConfigurationError, CONFIGURATION), (HubError, ATTENTION))


def told(error: HubError) -> str:
    """Write an error for people: what is wrong, where, and how to mend it, each on its line."""
    if not isinstance(error, ConfigurationError):
        return visible(f"Error: {error}")
    lines = [f"Error: {error.what}"]
    if error.where:
        lines.append(f"Where: {error.where}")
    if error.mend:
        lines.append(f"Mend:  {error.mend}")
    return visible("\n".join(lines))


def tell(error: HubError) -> None:
    """Tell an error on standard error."""
    print(told(error), file=sys.stderr)


def end_with(error: Exception) -> int | None:
    """Tell an error that somebody can mend, and give the exit code for it. None for what is a fault of our own."""
    known = error if isinstance(error, HubError) else _of_the_disk(error) or _of_the_database(error)
    if known is None:
        return None
    tell(known)
    return next(code for kind, code in _CODES if isinstance(known, kind))


def _of_the_disk(error: Exception) -> ConfigurationError | None:
    if not isinstance(error, OSError) or error.filename is None:
        return None
    return ConfigurationError(
        f"{error.strerror or error}.",
        where=str(error.filename),
        mend="See that it is there, belongs to the user who runs this, and has room; or name another home with --home.",
    )


def _of_the_database(error: Exception) -> ConfigurationError | None:
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

    if not isinstance(error, OperationalError | InterfaceError) and type(error) is not DatabaseError:
        return None
    said = str(error.orig).strip().partition("\n")[0].rstrip(".")
    return ConfigurationError(
        f"the database cannot be used: {said}.",
        where="LIFECYCLEHUB_DATABASE, or hub.sqlite3 in the home",
        mend="See that it runs, is sound and has room, and that its address and password are right.",
    )
