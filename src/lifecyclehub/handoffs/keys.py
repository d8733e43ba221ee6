"""The names of an effect: our key, the vendor's idempotency key, and the marker that a record carries."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from lifecyclehub.ports import base32

_MARKER_BITS = 50
_PLAIN = re.compile("[A-Za-z0-9_.~@:+,() -]*")  # what quoting would leave as it is, which it finds out more slowly
_PLAIN_WITH_SLASHES = re.compile("[A-Za-z0-9_.~/-]*")


def effect_key(handoff: str, name: str, subject_kind: str, subject_id: str, item: str = "", round: int = 1) -> str:  # noqa: A002
    """Give the key that exists once: `won-deal-starts-delivery/checklist/deal/deal_01jd/kickoff/1`.

    Different parts always give different keys: a slash inside a part is escaped.
    """
    return "/".join(map(_quoted, (handoff, name, subject_kind, subject_id, item, str(round))))


def _quoted(part: str) -> str:
    return part if _PLAIN.fullmatch(part) else quote(part, safe="@:+-_.,() ")


def _digest(*parts: str) -> bytes:
    plain = (part if _PLAIN_WITH_SLASHES.fullmatch(part) else quote(part, safe="/") for part in parts)
    return hashlib.sha256("\n".join(plain).encode()).digest()


def idempotency_key(key: str, revision: int, installation_id: str) -> str:
    """Give the vendor's idempotency key of one rendering: 64 hex digits."""
    return _digest("idempotency", installation_id, key, str(revision)).hex()


def marker(key: str, installation_id: str) -> str:
    """Give the marker of an effect, the same for all its revisions: `lh-` and ten characters."""
    number = int.from_bytes(_digest("marker", installation_id, key)) >> (256 - _MARKER_BITS)
    return "lh-" + base32(number, _MARKER_BITS // 5)
