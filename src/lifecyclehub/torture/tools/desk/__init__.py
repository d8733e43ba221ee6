"""The helpdesk."""

from __future__ import annotations

from lifecyclehub.connector.roles import AddInternalComment
from lifecyclehub.torture.tools import Character, Tool, about, kind, make, tool


class Desk(Tool):
    """Tickets and what is said on them."""


def desk(character: Character) -> Tool:
    """Make a helpdesk of a character."""
    kinds = (kind(character, "desk.ticket", "ticket"), kind(character, "desk.comment"))
    actions = (
        make("add_internal_comment", AddInternalComment, "desk.comment", character.once, target=("desk.ticket", "ticket")),
    )
    return tool(Desk, about("desk", "helpdesk", kinds, actions))
