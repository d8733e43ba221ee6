"""Others' words on a terminal and in the log: what would steer the terminal or forge a line is shown instead of obeyed."""

from __future__ import annotations

import re
from typing import Final

# Control characters but tab and line feed; and those that make text run the other way.
_STEERS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Give the text with everything that a terminal would obey written out."""
    return _STEERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
