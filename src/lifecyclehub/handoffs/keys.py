"""The names of an effect: our key, the vendor's idempotency key, and the marker that a record carries."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from lifecyclehub.ports import base32

_MARKER_BITS = 50
# What quoting would leave as it is, which it finds out more slowly.
_PLAIN_PARTS = re.compile("[A-Za-z0-9_.~@:+,() /-]*")
_DIGESTED = re.compile("[A-Za-z0-9_.~/\\n-]*")


def effect_key(handoff: str, name: str, subject_kind: str, subject_id: str, item: str = "", round: int = 1) -> str:  # noqa: A002
    """Give the key that exists once: `won-deal-starts-delivery/checklist/deal/deal_01jd/kickoff/1`.

    Different parts always give different keys: a slash inside a part is escaped.
    """
    parts = (handoff, name, subject_kind, subject_id, item, str(round))
    plain = "/".join(parts)
    if plain.count("/") == len(parts) - 1 and _PLAIN_PARTS.fullmatch(plain):
        return plain
    return "/".join([quote(part, safe="@:+-_.,() ") for part in parts])


def _digest(*parts: str) -> bytes:
    plain = "\n".join(parts)
    if plain.count("\n") != len(parts) - 1 or not _DIGESTED.fullmatch(plain):
        plain = "\n".join([quote(part, safe="/") for part in parts])
    return hashlib.sha256(plain.encode()).digest()


def idempotency_key(marker: str, revision: int, installation_id: str) -> str:
    """Give the vendor's idempotency key of one rendering of the effect with this marker: 64 hex digits."""
    return _digest("idempotency", installation_id, marker, str(revision)).hex()


def marker(key: str, installation_id: str) -> str:
    """Give the marker of an effect, the same for all its revisions: `lh-` and ten characters.

    `key` names the subject as its tool does, where one knows it: then a store that has forgotten the subject, because a
    backup was put back, and meets it again under another id of ours, finds what it made for it.
    """
    number = int.from_bytes(_digest("marker", installation_id, key)) >> (256 - _MARKER_BITS)
    return "lh-" + base32(number, _MARKER_BITS // 5)
