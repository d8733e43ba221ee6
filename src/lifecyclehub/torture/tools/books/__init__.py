"""The invoicing tool."""

from __future__ import annotations

from lifecyclehub.connector.roles import CreateCustomer, CreateDraftInvoice
from lifecyclehub.torture.tools import Character, Tool, about, kind, make, tool


class Books(Tool):
    """Customers and invoices."""


def books(character: Character) -> Tool:
    """Make an invoicing tool of a character. A customer who is there already, by name, is taken over."""
    lesser = "marker" if character.once in ("job", "never") else character.once
    kinds = (kind(character, "books.invoice", "invoice"), kind(character, "books.customer", "client"))
    actions = (
        make("create_customer", CreateCustomer, "books.customer", lesser),
        make("create_draft_invoice", CreateDraftInvoice, "books.invoice", character.once),
    )
    return tool(Books, about("books", "invoicing", kinds, actions))
