"""Our own change coming back in the tool's own writing: trimmed, in another case, rounded, without its mark-up, cut off."""

from __future__ import annotations

import html
import re
import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lifecyclehub.jsonio import loads

_TAG: Final = re.compile(r"<[^<>]{0,200}>")
_CUT_FROM: Final = 40  # characters: shorter text is not cut off by tools


def is_echo(sent: str, seen: str) -> bool:
    """Tell whether what a tool shows means what we sent. Both as the mirror keeps them."""
    return sent == seen or _alike(loads(sent), loads(seen))


def _alike(sent: Any, seen: Any) -> bool:
    if isinstance(sent, bool) or isinstance(seen, bool) or sent is None or seen is None:
        return False
    if isinstance(sent, str) and isinstance(seen, str) and not (_is_number(sent) and _is_number(seen)):
        return _same_text(_bare(sent), _bare(seen))
    return _rounded(str(sent), str(seen))


def _is_number(text: str) -> bool:
    """Tell a number from a text: of a number the point and the sign say as much as the digits."""
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _bare(text: str) -> str:
    """Give the letters and digits of a text, whatever their case, form or mark-up."""
    plain = unicodedata.normalize("NFKC", html.unescape(_TAG.sub("", text))).casefold()
    return "".join(char for char in plain if char.isalnum())


def _same_text(sent: str, seen: str) -> bool:
    return bool(seen) and (sent == seen or (len(seen) >= _CUT_FROM and sent.startswith(seen)))


def _rounded(sent: str, seen: str) -> bool:
    """Tell whether one number is the other with fewer digits after the point."""
    try:
        exact, shown = Decimal(sent), Decimal(seen)
        places = shown.as_tuple().exponent
        return isinstance(places, int) and exact.quantize(Decimal(1).scaleb(min(places, 0))) == shown
    except (InvalidOperation, ValueError):  # no numbers, or none with an end
        return False
