"""Comparing what a document shows with what came: ids, times, ports and the like differ each time."""

from __future__ import annotations

import difflib
import re

_MASKS = [
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d| UTC)?", "<time>"),
        (r"\b\d{4}-\d\d-\d\d\b", "<day>"),
        (r"\b\d\d:\d\d(:\d\d)?\b", "<time>"),
        (r"\blh-[0-9a-z]{10}\b", "<marker>"),
        (r"\blch_(…|[A-Za-z0-9_-]{20,})", "<token>"),
        (r"\b(127\.0\.0\.1|localhost):\d+", "<address>"),
        (r"/hooks/[0-9a-z]{20,}", "/hooks/<endpoint>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
        (r"\b[a-z]{3,4}_[0-9a-z]{16,}…?", "<id>"),
        (r"\b[0-9a-z]{26}\b", "<id>"),
        (r"\b[0-9a-f]{20,}\b", "<id>"),
        (r"\b\d{6,}\b", "<number>"),
        (r"\b\d+(\.\d+)? ?(ms|s|seconds?|minutes?|min)\b( ago)?", "<while>"),
        (r"\b\d+ (deliver|answered|entr|notice)", r"<count> \1"),
        (r"\(\d+ s\)", "<while>"),
        (r"\bjust now\b", "<while>"),
        (r"\bprocess \d+\b", "process <number>"),
        (r"\S+, <time>", "<who>, <time>"),
        (r"[─━═-]{3,}", "---"),
        (r"\s+", " "),
    )
]


def masked(line: str) -> str:
    """Write a line without what differs each time."""
    for pattern, mask in _MASKS:
        line = pattern.sub(mask, line)
    return line.strip()


def _lines(text: str) -> list[str]:
    found = [masked(line) for line in text.splitlines()]
    return [line for line in found if line]


def matches(shown: list[str], came: list[str]) -> bool:
    """Say whether the words that came are those shown, however they are broken into lines; "..." stands for any words."""
    wanted, found = " ".join(shown).split(), " ".join(came).split()
    pieces: list[list[str]] = [[]]
    for word in wanted:
        if word == "...":
            pieces.append([])
        else:
            pieces[-1].append(word)
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return found == first
    if found[: len(first)] != first or (last and found[-len(last) :] != last):
        return False
    at, end = len(first), len(found) - len(last)
    for piece in pieces[1:-1]:
        at = next((n + len(piece) for n in range(at, end - len(piece) + 1) if found[n : n + len(piece)] == piece), -1)
        if at < 0:
            return False
    return at <= end


def difference(shown: str, came: str) -> str:
    """Give the difference as a diff, "" when there is none."""
    wanted, found = _lines(shown), _lines(came)
    if matches(wanted, found):
        return ""
    return "\n".join(difflib.unified_diff(wanted, found, "the document shows", "this came", lineterm="", n=20))
