"""The blocks of a document: what a reader types, what is shown to come of it, and what is written into a file.

A comment in the line before a block says what it is:

    <!-- set-up -->               run by `run_setup_blocks.py` in a fresh clone, not by the tests
    <!-- stays running -->        a terminal of its own: started, awaited until it shows what it should, ended at last
    <!-- may take a moment -->    typed again until it shows what it should, for a while
    <!-- not run: why -->         needs what a test cannot have
    <!-- file: path -->           the content of a file; with "added to" before the path, lines to be added to it

A `text` block right after a `sh` block is what that shows; a line of three dots there stands for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = ("README.md", "docs/admin/tutorial.md")
_COMMENT = re.compile(r"<!-- *(.*?) *-->")
_KINDS = ("set-up", "stays running", "may take a moment", "not run: ", "file: ", "added to: ", "")


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line's number, its language, the comment before it, its text, and what it shows."""

    line: int
    language: str
    comment: str
    text: str
    shows: str | None = None

    def is_a(self, kind: str) -> bool:
        return self.comment.startswith(kind)


def fenced(text: str) -> Iterator[tuple[Block, bool]]:
    """Give every fenced block, and whether it comes right after the one before it."""
    lines = text.splitlines()
    comment, at, right_after = "", 0, False
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].startswith("```"))
            yield Block(at + 1, line[3:].strip(), comment, "\n".join(lines[at + 1 : end])), right_after
            comment, at, right_after = "", end + 1, True
            continue
        found = _COMMENT.fullmatch(line.strip())
        if found:
            comment = found[1]
        elif line.strip():
            comment, right_after = "", False
        at += 1


def blocks_of(document: Path) -> list[Block]:
    """Give what a reader types and writes, in order. Raises ValueError for a block that nobody would run."""
    blocks: list[Block] = []
    for block, right_after in fenced(document.read_text("utf-8")):
        where = f"{document.name}:{block.line}"
        if block.language == "text":
            if right_after and blocks and blocks[-1].language == "sh" and not block.comment:
                blocks[-1] = replace(blocks[-1], shows=block.text)
            continue
        if not any(block.is_a(kind) if kind else not block.comment for kind in _KINDS):
            raise ValueError(f"{where}: the comment {block.comment!r} means nothing to the tests")
        if block.language == "sh" or block.is_a("file: ") or block.is_a("added to: "):
            blocks.append(block)
        elif block.language != "toml" or not block.is_a("not run: "):
            raise ValueError(f"{where}: a {block.language or 'plain'} block that is neither run nor written; say why not")
    return blocks
