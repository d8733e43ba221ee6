"""The CRM: deals with their company, and some with a contact."""

from __future__ import annotations

from dataclasses import replace

from lifecyclehub.connector.roles import AddNote, SetFields
from lifecyclehub.torture.tools import Character, Tool, about, change, kind, make, tool


class Crm(Tool):
    """Deals, companies, contacts, notes."""


def crm(character: Character) -> Tool:
    """Make a CRM of a character."""
    kinds = (
        kind(character, "crm.deal", "deal", opens=True),
        kind(character, "crm.company", "client"),
        replace(kind(character, "crm.contact", "contact"), poll_s=None),
        kind(character, "crm.note"),
    )
    actions = (
        make("add_note", AddNote, "crm.note", character.once, target=("crm.deal", "deal")),
        change("set_fields", SetFields, "crm.company", "record"),
    )
    return tool(Crm, about("crm", "crm", kinds, actions))
