"""Errors, named by what happens next.

`ConfigurationError`: an admin mends it. `DeliveryRejected`: the sender is wrong. The failures of a call
(`NeedsReauthorization`, `RecordGone`, `Forbidden`, `Moved`, `Unsupported`, `TryAgain`) tell the core what the
vendor said. Outcomes of actions are values, not errors: see `lifecyclehub.messages`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LISTED = 24


class HubError(Exception):
    """Any error that lifecyclehub raises on purpose."""


class ConfigurationError(HubError):
    """An admin can mend this. The text says what is wrong, where, and how to mend it."""

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(f"{where + ': ' if where else ''}{what}{' ' + mend if mend else ''}")


class NotThere(ConfigurationError):
    """What was named is not there. The text names the nearest that is, where there is one."""


class MappingError(ConfigurationError):
    """A mapping, lookup, converter or handoff that cannot be applied, or a value that it could not map."""


class PluginRefused(ConfigurationError):
    """A connector that cannot be used: wrong contract version, failed import, incomplete description."""


class DeliveryRejected(HubError):
    """The request is not a delivery we accept. `status` is the HTTP status, `reason` a short stable word."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        self.status, self.reason, self.detail = status, reason, detail
        super().__init__(f"{status} {reason}: {detail}")


class NotOurJson(HubError):
    """A body that is not strict JSON (duplicate keys, NaN, too deep, NUL, invalid UTF-8, too large numbers)."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


class LostRace(HubError):
    """Another worker was quicker. Nothing was written; the operation runs again on what is true now."""


class CallFailed(HubError):
    """A call to a vendor that brought no usable answer. Subclasses say what to do about it."""


class NeedsReauthorization(CallFailed):
    """The vendor no longer accepts our credentials: the connection is paused until an admin renews them."""


class RecordGone(CallFailed):
    """The vendor says that the record does not exist any more (404 or 410 for a record, never 403)."""


class Forbidden(CallFailed):
    """The vendor refuses us this record. It may well exist: this is not `RecordGone`."""


class Moved(CallFailed):
    """The record was merged into another one. `to` is the surviving record's id."""

    def __init__(self, to: str) -> None:
        self.to = to
        super().__init__(f"merged into {to}")


class Unsupported(CallFailed):
    """The tool, or this account's plan, cannot do what was asked."""


class TryAgain(CallFailed):
    """A passing fault. `after` is the vendor's wish in seconds, `sent` tells whether the vendor may have seen the request."""

    def __init__(self, reason: str, *, after: float | None = None, sent: bool = True) -> None:
        self.reason, self.after, self.sent = reason, after, sent
        super().__init__(reason)


class Spared(TryAgain):
    """Nothing was done: calls wait for `after` seconds, because the tool failed too often just now, or its rate is used up.

    That counts as no attempt.
    """

    def __init__(self, connection: str, after: float, reason: str = "") -> None:
        why = reason or f"{connection} failed too often just now; calls wait for {after:.0f} s"
        super().__init__(why, after=after, sent=False)


class PluginFailed(HubError):
    """A connector's own code did not do its part. `connector` is its id, `function` what was called."""

    def __init__(self, connector: str, function: str, what: str) -> None:
        self.connector, self.function = connector, function
        super().__init__(f"connector {connector}: {function} {what}")


class PluginRaised(PluginFailed):
    """A connector's function raised. `error` is what it raised."""

    def __init__(self, connector: str, function: str, error: BaseException) -> None:
        self.error = error
        text = " ".join(str(error).split())[:300]
        super().__init__(connector, function, f"raised {type(error).__name__}{': ' + text if text else ''}")


class PluginHangs(PluginFailed):
    """A connector's function did not come back. Its work is held until the hub is started again."""


def nearest(name: str, names: Iterable[str], *, none: str = "") -> str:
    """Give `Did you mean …?` for the nearest known name, else all of them where they are few, else `none`."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]}?"
    return f"There are: {', '.join(known)}." if 0 < len(known) <= _LISTED else none
