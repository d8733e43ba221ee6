"""Our own change coming back as the tool writes it. What its connector does not declare is somebody's change, not ours."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Final

from lifecyclehub.jsonio import loads

_TAG: Final = re.compile(r"<[^<>]{0,200}>")
_CUT_FROM: Final = 40  # characters: shorter text is not cut off by tools

# What is left of a text when a tool rewrites that; in this order. `digits` and `cut` compare instead.
_WITHOUT: Final[Mapping[str, Callable[[str], str]]] = {
    "markup": lambda text: html.unescape(_TAG.sub("", text)),
    "case": str.casefold,
    "space": lambda text: " ".join(text.split()),
    "signs": lambda text: "".join(char for char in text if char.isalnum()),
}


def echoes(rewrites: Collection[str]) -> Callable[[str, str], bool]:
    """Give the question for a kind: does what its tool shows mean what we sent? Both as the mirror keeps them."""
    return partial(_is_echo, rewrites)


def _is_echo(rewrites: Collection[str], sent: str, seen: str) -> bool:
    return sent == seen or _alike(loads(sent), loads(seen), rewrites)


def _alike(sent: Any, seen: Any, rewrites: Collection[str]) -> bool:
    if any(one is None or isinstance(one, bool) for one in (sent, seen)):
        return False
    exact, shown = _number(sent), _number(seen)
    if exact is not None and shown is not None:  # of a number the point and the sign say as much as the digits
        both = not isinstance(sent, str) and not isinstance(seen, str)
        return (both and exact == shown) or ("digits" in rewrites and _rounded(exact, shown))
    if not isinstance(sent, str) or not isinstance(seen, str):
        return False
    for name, without in _WITHOUT.items():
        if name in rewrites:
            sent, seen = without(sent), without(seen)
    sent, seen = (unicodedata.normalize("NFC", one) for one in (sent, seen))
    cut = "cut" in rewrites and len(seen) >= _CUT_FROM and sent.startswith(seen)
    return bool(seen) and (sent == seen or cut)


def _number(value: Any) -> Decimal | None:
    try:
        found = Decimal(value) if isinstance(value, str | int | Decimal) else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


def _rounded(exact: Decimal, shown: Decimal) -> bool:
    """Tell whether one number is the other with fewer digits after the point."""
    places = shown.as_tuple().exponent
    try:
        return isinstance(places, int) and exact.quantize(Decimal(1).scaleb(min(places, 0))) == shown
    except InvalidOperation:  # more digits than can be counted with
        return False
