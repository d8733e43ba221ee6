"""`clients` and `engagements`: for whom, and which pieces of work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from lifecyclehub.cli.pages import After, Limit, show_one, show_page
from lifecyclehub.cli.showing import AsJson, clock, console, print_table
from lifecyclehub.insight.clients import ClientPage, client_names, client_page, list_clients, list_contacts, list_engagements
from lifecyclehub.insight.engagements import EngagementPage, engagement_page
from lifecyclehub.insight.lists import Asked, Listed, Stage, Standing
from lifecyclehub.insight.money import Amount


def clients(
    ctx: typer.Context,
    client: Annotated[str | None, typer.Argument(help="Show this one's page.")] = None,
    standing: Annotated[Standing | None, typer.Option(help="Only those of this standing.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the clients, the newest first; or show one's page."""
    if client is not None:
        show_one(ctx, client_page, client, _show_client, as_json=as_json)
        return
    show_page(
        ctx,
        lambda conn: list_clients(conn, Asked(after, limit), standing=standing),
        ("Client", "Name", "Standing", "Since", "Currency"),
        lambda one: (one.id, one.name, one.standing, one.standing_since, one.currency),
        as_json=as_json,
        empty="There are no clients yet.",
    )


def contacts(
    ctx: typer.Context,
    email: Annotated[str | None, typer.Option(help="Only the one with this e-mail address.")] = None,
    client: Annotated[str | None, typer.Option(help="Only those at this client.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the people at clients, the newest first."""
    show_page(
        ctx,
        lambda conn: list_contacts(conn, Asked(after, limit), email=email, client=client),
        ("Contact", "Name", "E-mail", "Client"),
        lambda one: (one.id, one.name, one.email, one.client),
        as_json=as_json,
        empty="There are no contacts yet.",
    )


def _show_client(page: ClientPage) -> None:
    out, owed = console(), money(page.outstanding)
    out.print(f"{page.client.name or page.client.id}: {page.client.standing}" + (f", owes {owed}" if owed else ""), markup=False)
    print_table(("Person", "E-mail", "Roles"), [(c.name, c.email, c.roles) for c in page.contacts], empty="", title="People")
    rows = [(e.id, e.title, e.stage, e.stage_since) for e in page.engagements]
    print_table(("Engagement", "Title", "Stage", "Since"), rows, empty="", title="Engagements")
    rows_ = [(t.number, t.subject, t.status, t.address) for t in page.tickets]
    print_table(("Ticket", "Subject", "Status", "Address"), rows_, empty="", title=f"Open tickets ({page.open_tickets})")
    bills = [(i.number or i.id, i.status, i.total.text if i.total else "", i.due_on, i.address) for i in page.invoices]
    print_table(("Invoice", "Status", "Total", "Due", "Address"), bills, empty="", title="Invoices not paid")


def money(amounts: Sequence[Amount]) -> str:
    """Write amounts in a row, one per currency."""
    return ", ".join(one.text for one in amounts)


def engagements(
    ctx: typer.Context,
    engagement: Annotated[
        str | None, typer.Argument(help="Show this one: its money, its records in the tools, everything that happened.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="Only this client's.")] = None,
    stage: Annotated[Stage | None, typer.Option(help="Only those in this stage.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the engagements, the newest first; or show one with everything that happened."""
    if engagement is not None:
        show_one(ctx, engagement_page, engagement, _show_engagement, as_json=as_json)
        return
    names: dict[str, str | None] = {}

    def question(conn: Connection) -> Listed[Any]:
        found = list_engagements(conn, Asked(after, limit), client=client, stage=stage)
        names.update(client_names(conn, {one.client for one in found.items if one.client}))
        return found

    show_page(
        ctx,
        question,
        ("Engagement", "Client", "Title", "Stage", "Since"),
        lambda one: (one.id, names.get(one.client), one.title, one.stage, one.stage_since),
        as_json=as_json,
        empty="There are no engagements yet: the first deal opens one.",
    )


def _show_engagement(page: EngagementPage) -> None:
    out, one = console(), page.engagement
    out.print(f"{one.title or one.id} for {page.client_name or 'nobody yet'}: {one.stage}", markup=False)
    sums = {name: money(getattr(page.money, name)) for name in ("sold", "invoiced", "paid", "outstanding", "unbilled")}
    out.print("; ".join(f"{name} {value}" for name, value in sums.items() if value) or "No money is known yet.", markup=False)
    things = [("deal", d.title, d.status, d.address) for d in page.deals]
    things += [("project", p.title, p.status, p.address) for p in page.projects]
    things += [("ticket", f"{t.number or ''} {t.subject or ''}".strip(), t.status, t.address) for t in page.tickets]
    things += [("invoice", i.number or i.id, i.status, i.address) for i in page.invoices]
    print_table(("What", "Title", "Status", "Address"), things, empty="", title="Records")
    rows = [(clock(m.at), m.kind, m.title, m.tool, m.state or "", m.detail, m.id) for m in page.timeline]
    print_table(("When", "What", "Title", "In", "State", "What it says", "Id"), rows, empty="", title="Timeline")
