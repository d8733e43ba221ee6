"""Roles: what a tool can be to a business, with the canonical input of each action.

A handoff asks a role to do something (`project.create_project`); the connection that plays the role does it.
Record ids in the inputs are the vendor's own. `at` is the time of the act; the core fills it. Money is a whole number
of minor units with its ISO 4217 currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

ROLES_VERSION = 1

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=250)]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000)]
RecordId: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


class Input(BaseModel):
    """An action's canonical input: frozen, nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Owner(Input):
    """Who is responsible: a teammate. In a handoff it is an e-mail address; the core adds the rest.

    `record`: the id of the teammate's record in the tool that acts, None where the tool does not know the address:
    then nobody is assigned, and the mapping names the address in a text.
    """

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    record: RecordId | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_address(cls, value: Any) -> Any:
        return {"email": value.strip().lower()} if isinstance(value, str) else value


class MoneyInput(Input):
    """`minor`: whole minor units; `decimal`: the same in the currency's usual notation, exact."""

    minor: int
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    decimal: Decimal


class AddNote(Input):
    """Put a note on a deal. `at`: when it is written, for vendors that want to be told."""

    deal: RecordId
    text: Text
    at: datetime | None = None


class CreateCrmTask(Input):
    """Give somebody a task that hangs on a deal. `at`: when it is given, for vendors that want to be told."""

    deal: RecordId
    title: Name
    notes: str = ""
    owner: Owner | None = None
    due_on: date | None = None
    at: datetime | None = None


class SetFields(Input):
    """Write fields of a record; the keys are canonical field paths such as `client.standing`."""

    record: RecordId
    values: dict[str, Any]


class CreateProject(Input):
    """Start a project, blank or from a template (the template's own id in the tool)."""

    name: Name
    notes: str = ""
    template: str | None = None
    owner: Owner | None = None
    starts_on: date | None = None
    due_on: date | None = None


class RenameProject(Input):
    """Give a project its final name."""

    project: RecordId
    name: Name


class CreateTask(Input):
    """Put a task into a project."""

    project: RecordId
    title: Name
    notes: str = ""
    owner: Owner | None = None
    due_on: date | None = None


class AddComment(Input):
    """Comment on a project, or on one of its tasks where the tool has comments only there."""

    project: RecordId
    task: RecordId | None = None
    text: Text


class AddInternalComment(Input):
    """Put a comment on a ticket that only our own people can read."""

    ticket: RecordId
    text: Text


class AddTag(Input):
    """Tag a ticket."""

    ticket: RecordId
    tag: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,80}$")]


class CreateCustomer(Input):
    """Enter a customer. `reference` is ours, for vendors that keep an external number."""

    name: Name
    email: str | None = None
    phone: str | None = None
    tax_id: str | None = None
    currency: str | None = None
    reference: str | None = None


class InvoiceLine(Input):
    """One line. `amount` is for the whole line, quantity one."""

    description: Name
    amount: MoneyInput
    charge: str | None = None


class CreateDraftInvoice(Input):
    """Draft an invoice; a person approves it in the tool. `reference` is what the end client may see (the deal)."""

    customer: RecordId
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    lines: Annotated[tuple[InvoiceLine, ...], Field(min_length=1)]
    issued_on: date
    due_on: date | None = None
    reference: str = ""
    project_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a connector must and may offer for a role. `losses`: what is missing without each optional part."""

    id: str
    label: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    actions: dict[str, type[Input]]
    losses: dict[str, str]


ROLES: dict[str, Role] = {
    role.id: role
    for role in (
        Role(
            id="crm",
            label="CRM",
            required=("deal",),
            optional=("client", "contact", "teammate"),
            actions={"add_note": AddNote, "create_task": CreateCrmTask, "set_fields": SetFields},
            losses={
                "add_note": "the deal does not show the project's and the draft invoice's address",
                "set_fields": "the client's standing is not written back",
                "contact": "invoices have no recipient and tickets match by domain only",
                "teammate": "tasks are made without an assignee and name their owner in the text",
            },
        ),
        Role(
            id="project",
            label="Projects",
            required=("project",),
            optional=("teammate",),
            actions={
                "create_project": CreateProject,
                "rename_project": RenameProject,
                "create_task": CreateTask,
                "add_comment": AddComment,
            },
            losses={
                "rename_project": "a project made from a template keeps the code in its name",
                "create_task": "the onboarding checklist is not made",
                "add_comment": "a ticket is not announced in its project",
                "teammate": "tasks are made without an assignee and name their owner in the text",
            },
        ),
        Role(
            id="helpdesk",
            label="Helpdesk",
            required=("ticket",),
            optional=("client", "contact"),
            actions={"add_internal_comment": AddInternalComment, "add_tag": AddTag},
            losses={"add_internal_comment": "the ticket does not show its project's address"},
        ),
        Role(
            id="invoicing",
            label="Invoicing",
            required=("invoice",),
            optional=("client",),
            actions={"create_customer": CreateCustomer, "create_draft_invoice": CreateDraftInvoice},
            losses={"create_customer": "a customer must exist in the invoicing tool and be linked by hand"},
        ),
    )
}
