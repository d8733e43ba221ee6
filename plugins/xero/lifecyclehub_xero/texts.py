"""Converters: what Xero writes, or wants written, in its own way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

_XERO = re.compile("xero", re.IGNORECASE)


def contact_name(value: Any) -> str | None:
    """Write a name as Xero takes it: no angle brackets, no space before, after, or twice."""
    if not isinstance(value, str):
        return None
    return " ".join(value.replace("<", "(").replace(">", ")").split()) or None


def phone(value: Any) -> str | None:
    """Read a contact's `Phones`: the default number with its country and area code, else the first that is filled."""
    if not isinstance(value, list):
        return None
    filled = [one for one in value if isinstance(one, Mapping) and one.get("PhoneNumber")]
    chosen = next((one for one in filled if one.get("PhoneType") == "DEFAULT"), filled[0] if filled else None)
    if chosen is None:
        return None
    country = str(chosen.get("PhoneCountryCode") or "").lstrip("+")
    parts = (f"+{country}" if country else "", str(chosen.get("PhoneAreaCode") or ""), str(chosen["PhoneNumber"]))
    return " ".join(part for part in parts if part)


def link(url: str, marker: str) -> str:
    """Put our marker into an address so that the page behind it stays the same.

    It goes behind a `#`, which no server ever sees; where there is one already it goes into the query. Xero takes no
    address with its own name in it, so that name is written with a percent code outside the host.
    """
    scheme, host, path, query, fragment = urlsplit(url)
    path, query, fragment = (_XERO.sub(_veiled, part) for part in (path, query, fragment))
    if fragment:
        query = f"{query}&lh={marker}" if query else f"lh={marker}"
    else:
        fragment = marker
    return urlunsplit((scheme, host, path, query, fragment))


def _veiled(name: re.Match[str]) -> str:
    return f"%{ord(name.group()[0]):02X}{name.group()[1:]}"
