"""`deliveries`, `effects`, `clients`, `engagements`, `explain`: what came in, what was done, for whom, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy import Connection, select

from lifecyclehub.admin.stored import find_connection
from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.shared import AsJson, ask, clock, console, home_of, print_json, print_table
from lifecyclehub.configuration import read_rules
from lifecyclehub.insight.clients import client_names, client_page, list_clients, list_engagements
from lifecyclehub.insight.details import delivery_detail, effect_detail
from lifecyclehub.insight.engagements import EngagementPage, engagement_page
from lifecyclehub.insight.explain import Explanation
from lifecyclehub.insight.explain import explain as answer
from lifecyclehub.insight.lists import MAX_LIMIT, Asked, Listed, list_deliveries, list_effects
from lifecyclehub.insight.money import Amount
from lifecyclehub.registry.registry import Registry
from lifecyclehub.store import tables

T = TypeVar("T")
engagements = typer.Typer(rich_markup_mode=None, help="Pieces of work, from first inquiry to last payment.")

After = Annotated[str | None, typer.Option("--after", help="Go on after the cursor that the last page ended with.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="How many at most.")]
State = Annotated[str | None, typer.Option("--state", help="Only those in this state.")]
From = Annotated[str | None, typer.Option("--connection", help="Only those of this connection.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for one in (deliveries, effects, clients, explain):
        app.command()(one)
    app.add_typer(engagements, name="engagements")


def _page(found: Listed[T], columns: Sequence[str], row: Callable[[T], Sequence[object]], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json(found)
        return
    print_table(columns, [row(one) for one in found.items], empty=empty)
    if found.next:
        console().print(f"There is more: --after {found.next}", markup=False)


def _connection(conn: Connection, named: str | None) -> str | None:
    return find_connection(conn, named)["id"] if named else None


def _names(conn: Connection) -> dict[str | None, str]:
    return {row.id: row.name for row in conn.execute(select(tables.connection.c.id, tables.connection.c.name))}


# --- what came in -----------------------------------------------------------------------------------------------------


def deliveries(
    ctx: typer.Context,
    delivery: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    state: State = None,
    connection: From = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List what came in, the newest first; or show one in full."""
    if delivery is not None:
        _one_delivery(ctx, delivery, as_json=as_json)
        return
    found = ask(
        ctx, lambda conn: list_deliveries(conn, Asked(after, limit), state=state, connection=_connection(conn, connection))
    )
    _page(
        found,
        ("Delivery", "When", "From", "Way", "Bytes", "State", "Because"),
        lambda one: (one.id, one.received_at, one.connector, one.way, one.size, one.state, one.reason),
        as_json=as_json,
        empty="Nothing came in yet." if not (state or connection or after) else "None.",
    )


def _one_delivery(ctx: typer.Context, delivery: str, *, as_json: bool) -> None:
    detail = ask(ctx, lambda conn: delivery_detail(conn, delivery))
    if as_json:
        print_json(detail)
        return
    one, out = detail.delivery, console()
    out.print(f"{one.id} from {one.connector}, {clock(one.received_at)}, {one.way}, {one.size} bytes, {one.state}", markup=False)
    print_table(
        ("Notice", "Record", "Change", "State", "Because", "What it says"),
        [(n.id, f"{n.kind} {n.record_id}", n.change, n.state, n.reason, n.detail) for n in detail.notices],
        empty="It has no notices.",
    )
    print_table(("Header", "Value"), sorted(detail.headers.items()), empty="", title="Headers")
    out.print(f"\n{detail.body}", markup=False, soft_wrap=True)


def effects(
    ctx: typer.Context,
    effect: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    state: State = None,
    connection: From = None,
    handoff: Annotated[str | None, typer.Option(help="Only those of this handoff.")] = None,
    engagement: Annotated[str | None, typer.Option(help="Only those of this engagement.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List what is done in the tools, the newest first; or show one in full, with every attempt."""
    if effect is not None:
        _one_effect(ctx, effect, as_json=as_json)
        return

    def question(conn: Connection) -> tuple[Listed[Any], dict[str | None, str]]:
        wanted = {"state": state, "handoff": handoff, "engagement": engagement, "connection": _connection(conn, connection)}
        return list_effects(conn, Asked(after, limit), **wanted), _names(conn)

    found, names = ask(ctx, question)
    _page(
        found,
        ("Effect", "What", "For", "In", "State", "Because", "Record"),
        lambda one: (
            one.id,
            f"{one.action} {one.item}".strip(),
            f"{one.subject_kind} {one.subject}",
            names.get(one.connection),
            one.state,
            one.reason,
            one.record_id,
        ),
        as_json=as_json,
        empty="Nothing was done yet." if not (state or connection or handoff or engagement or after) else "None.",
    )


def _one_effect(ctx: typer.Context, effect: str, *, as_json: bool) -> None:
    detail = ask(ctx, lambda conn: effect_detail(conn, effect))
    if as_json:
        print_json(detail)
        return
    one, out = detail.effect, console()
    facts = {
        "What": f"{one.role}.{one.action} {one.item}".strip(),
        "For": f"{one.subject_kind} {one.subject}",
        "By": f"handoff {one.handoff}, rules {detail.applied_set}",
        "State": " — ".join(text for text in (one.state, one.reason, one.detail) if text),
        "What to do": detail.advice,
        "Planned": clock(one.planned_at),
        "Done": clock(one.done_at),
        "Record": " ".join(text for text in (one.record_id, one.address) if text),
        "Revision": one.revision,
    }
    out.print(one.id, markup=False)
    for name, value in facts.items():
        if value:
            out.print(f"  {name + ':':<12}{value}", markup=False)
    print_table(
        ("When", "What", "Outcome", "Status", "What it says"),
        [(clock(a.at), a.what, a.outcome, a.status, a.detail) for a in detail.attempts],
        empty="\nIt was not attempted yet.",
        title="Attempts",
    )


# --- for whom ---------------------------------------------------------------------------------------------------------


def clients(
    ctx: typer.Context,
    client: Annotated[str | None, typer.Argument(help="Show this one's page.")] = None,
    standing: Annotated[str | None, typer.Option(help="Only lead, contact, client or former.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the clients, the newest first; or show one's page."""
    if client is not None:
        _one_client(ctx, client, as_json=as_json)
        return
    found = ask(ctx, lambda conn: list_clients(conn, Asked(after, limit), standing=standing))
    _page(
        found,
        ("Client", "Name", "Standing", "Since", "Currency"),
        lambda one: (one.id, one.name, one.standing, one.standing_since, one.currency),
        as_json=as_json,
        empty="None." if standing or after else "There are no clients yet.",
    )


def _one_client(ctx: typer.Context, client: str, *, as_json: bool) -> None:
    page = ask(ctx, lambda conn: client_page(conn, client))
    if as_json:
        print_json(page)
        return
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


@engagements.callback(invoke_without_command=True)
def _engagements(
    ctx: typer.Context,
    client: Annotated[str | None, typer.Option(help="Only this client's.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only those in this stage.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the engagements, the newest first."""
    if ctx.invoked_subcommand is not None:
        return

    def question(conn: Connection) -> tuple[Listed[Any], dict[str, str | None]]:
        found = list_engagements(conn, Asked(after, limit), client=client, stage=stage)
        return found, client_names(conn, {one.client for one in found.items if one.client})

    found, names = ask(ctx, question)
    _page(
        found,
        ("Engagement", "Client", "Title", "Stage", "Since"),
        lambda one: (one.id, names.get(one.client), one.title, one.stage, one.stage_since),
        as_json=as_json,
        empty="None." if client or stage or after else "There are no engagements yet: the first deal opens one.",
    )


@engagements.command("list")
def _engagements_list(
    ctx: typer.Context,
    client: Annotated[str | None, typer.Option(help="Only this client's.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only those in this stage.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List the engagements, the newest first."""
    ctx.invoked_subcommand = None
    _engagements(ctx, client, stage, limit, after, as_json)


@engagements.command("show")
def _show(ctx: typer.Context, engagement: str, as_json: AsJson = False) -> None:
    """Show one engagement: its money, its records in the tools, everything that happened."""
    page = ask(ctx, lambda conn: engagement_page(conn, engagement))
    if as_json:
        print_json(page)
    else:
        _show_engagement(page)


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


# --- why --------------------------------------------------------------------------------------------------------------


def explain(
    ctx: typer.Context,
    thing: Annotated[str, typer.Argument(help="An id, one field of a thing (dea_…:deal.status), or a record's address.")],
    as_json: AsJson = False,
) -> None:
    """Say why this value, why this effect, and why not."""
    rules = read_rules(Registry.load(), settings_of(home_of(ctx)), "")
    found = ask(ctx, lambda conn: answer(conn, rules, thing, datetime.now(UTC)))
    if as_json:
        print_json(found)
    else:
        _show_explanation(found)


def _show_explanation(found: Explanation) -> None:
    out = console()
    out.print(f"{found.kind} {found.id}" + (f": {found.title}" if found.title else ""), markup=False)
    for line in found.lines:
        out.print(f"- {line}", markup=False)
    if found.kind != "field":
        rows = [(one.path, one.value, one.because) for one in found.values]
        print_table(("Field", "Value", "Because"), rows, empty="", title="Values")
