"""`deliveries` and `effects`: what came in, and what was done."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy import Connection, select

from lifecyclehub.admin.stored import find_connection
from lifecyclehub.cli.pages import After, Limit, show_one, show_page
from lifecyclehub.cli.showing import AsJson, clock, console, print_table
from lifecyclehub.insight.details import DeliveryDetail, EffectDetail, delivery_detail, effect_detail
from lifecyclehub.insight.lists import Asked, DeliveryState, EffectState, Listed, list_deliveries, list_effects
from lifecyclehub.store import tables

From = Annotated[str | None, typer.Option("--connection", help="Only those of this connection.")]


def _id_of(conn: Connection, named: str | None) -> str | None:
    return find_connection(conn, named, removed=True)["id"] if named else None


# --- what came in -----------------------------------------------------------------------------------------------------


def deliveries(
    ctx: typer.Context,
    delivery: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    connection: From = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List what came in, the newest first; or show one in full."""
    if delivery is not None:
        show_one(ctx, delivery_detail, delivery, _show_delivery, as_json=as_json)
        return
    show_page(
        ctx,
        lambda conn: list_deliveries(conn, Asked(after, limit), state=state, connection=_id_of(conn, connection)),
        ("Delivery", "When", "From", "Way", "Bytes", "State", "Because"),
        lambda one: (one.id, one.received_at, one.connector, one.way, one.size, one.state, one.reason),
        as_json=as_json,
        empty="Nothing came in yet.",
    )


def _show_delivery(detail: DeliveryDetail) -> None:
    one, out = detail.delivery, console()
    out.print(f"{one.id} from {one.connector}, {clock(one.received_at)}, {one.way}, {one.size} bytes, {one.state}", markup=False)
    print_table(
        ("Notice", "Record", "Change", "State", "Because", "What it says"),
        [(n.id, f"{n.kind} {n.record_id}", n.change, n.state, n.reason, n.detail) for n in detail.notices],
        empty="It has no notices.",
    )
    print_table(("Header", "Value"), sorted(detail.headers.items()), empty="", title="Headers")
    out.print(f"\n{detail.body}", markup=False, soft_wrap=True)


# --- what was done ----------------------------------------------------------------------------------------------------


def effects(
    ctx: typer.Context,
    effect: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    state: Annotated[EffectState | None, typer.Option(help="Only those in this state.")] = None,
    connection: From = None,
    handoff: Annotated[str | None, typer.Option(help="Only those of this handoff.")] = None,
    engagement: Annotated[str | None, typer.Option(help="Only those of this engagement.")] = None,
    limit: Limit = 20,
    after: After = None,
    as_json: AsJson = False,
) -> None:
    """List what is done in the tools, the newest first; or show one in full, with every attempt."""
    if effect is not None:
        show_one(ctx, effect_detail, effect, _show_effect, as_json=as_json)
        return
    names: dict[str | None, str] = {}

    def question(conn: Connection) -> Listed[Any]:
        names.update((row.id, row.name) for row in conn.execute(select(tables.connection.c.id, tables.connection.c.name)))
        wanted = {"state": state, "handoff": handoff, "engagement": engagement, "connection": _id_of(conn, connection)}
        return list_effects(conn, Asked(after, limit), **wanted)

    show_page(
        ctx,
        question,
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
        empty="Nothing was done yet.",
    )


def _show_effect(detail: EffectDetail) -> None:
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
