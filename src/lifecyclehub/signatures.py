"""Checking a delivery's signature over its raw bytes, before anything is parsed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from lifecyclehub.connector.about import Part, Signature, Timestamp


@dataclass(frozen=True, slots=True)
class Secret:
    """A signing secret with its own id, so that the log can tell which one matched. `until`: it serves no longer than that."""

    id: str
    value: bytes = field(repr=False)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a delivery is signed. `secret_id` of the one that matched; else a stable `reason` and a sentence."""

    ok: bool
    secret_id: str = ""
    reason: str = ""
    detail: str = ""


def _members(composite: str) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for piece in composite.split(","):
        name, equals, value = piece.strip().partition("=")
        if equals:
            members.setdefault(name, []).append(value)
    return members


def _instant(text: str, unit: str) -> datetime | None:
    try:
        if unit == "iso":
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            return None
        return datetime.fromtimestamp(int(text) / (1000 if unit == "ms" else 1), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _stated_time(spec: Timestamp, headers: Mapping[str, str]) -> str | None:
    text = headers.get(spec.header.lower())
    if text is None or spec.member is None:
        return text
    return next(iter(_members(text).get(spec.member, [])), None)


def _message(parts: Sequence[Part], method: str, url: str, body: bytes, stamp: str) -> bytes:
    known = {"method": method.encode(), "url": url.encode(), "body": body, "timestamp": stamp.encode("utf-8", "surrogatepass")}
    return b"".join(part if isinstance(part, bytes) else known[part] for part in parts)


def sign(signature: Signature, secret: bytes, *, method: str, url: str, body: bytes, stamp: str = "", hook_id: str = "") -> str:
    """Make the value that a vendor would send: for tests and the simulated tools."""
    message = _message(signature.parts, method, url, body, stamp)
    value = signature.prefix + _encode(signature, secret, message)
    return base64.b64encode(f"{hook_id}:{value}".encode()).decode() if signature.encoding == "id-hex-base64" else value


def _encode(signature: Signature, secret: bytes, message: bytes) -> str:
    match signature.algorithm:
        case "hmac-sha256":
            digest = hmac.new(secret, message, hashlib.sha256).digest()
        case "hmac-sha1":
            digest = hmac.new(secret, message, hashlib.sha1).digest()
        case "token":
            return secret.decode()
        case "basic":
            return "Basic " + base64.b64encode(secret).decode()
        case _:
            assert_never(signature.algorithm)
    return base64.b64encode(digest).decode() if signature.encoding == "base64" else digest.hex()


def _unwrapped(signature: Signature, candidate: str) -> bytes:
    """Give what is compared: the candidate itself, or the digest behind the hook's id."""
    raw = candidate.encode("utf-8", "surrogatepass")
    if signature.encoding != "id-hex-base64":
        return raw
    try:
        return base64.b64decode(raw, validate=True).rpartition(b":")[2]
    except ValueError:
        return b""


def verify(
    signature: Signature,
    secrets: Sequence[Secret],
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> Verdict:
    """Check a delivery against every secret that is valid now. `headers` have lower-case names; `url` is our public one.

    All comparisons take constant time. Without a secret nothing is ever accepted.
    """
    usable = [secret for secret in secrets if secret.value]
    if not usable:
        return Verdict(ok=False, reason="no-secret", detail="no signing secret is stored for this endpoint")
    given = headers.get(signature.header.lower())
    if given is None:
        return Verdict(ok=False, reason="unsigned", detail=f"the header {signature.header} is missing")
    stamp = ""
    if signature.timestamp is not None:
        spec = signature.timestamp
        stamp = _stated_time(spec, headers) or ""
        moment = _instant(stamp, spec.unit)
        if moment is None:
            return Verdict(ok=False, reason="no-timestamp", detail=f"the header {spec.header} holds no {spec.unit} time")
        off = (now - moment).total_seconds()
        if abs(off) > spec.tolerance_s:
            way = "old" if off > 0 else "in the future"
            return Verdict(ok=False, reason="stale", detail=f"signed {abs(off):.0f} s {way}; {spec.tolerance_s} s are allowed")
    candidates = _members(given).get(signature.member, []) if signature.member else [given.strip()]
    message = _message(signature.parts, method, url, body, stamp)
    for secret in usable:
        wanted = (signature.prefix + _encode(signature, secret.value, message)).encode()
        for candidate in candidates:
            if hmac.compare_digest(wanted, _unwrapped(signature, candidate)):
                return Verdict(ok=True, secret_id=secret.id)
    return Verdict(ok=False, reason="bad-signature", detail="the signature does not match the body, the URL or the secret")
