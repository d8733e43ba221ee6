"""`replay`, `park`, `unpark`: a person's word on what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from sqlalchemy import Connection, func, select, text

from lifecyclehub.admin.effects import Answer, AnswerEffects, Aside, ParkEffects, Verdict
from lifecyclehub.admin.replay import Replay, Replayed, Wanted
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.opened import with_hub
from lifecyclehub.cli.progress import doing
from lifecyclehub.cli.shared import Who, me, moment_of
from lifecyclehub.cli.showing import AsJson, complaints, console, print_json
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.store import tables

_LOOK_EVERY_S = 0.2
_EFFECT, _NOTICE, _DELIVERY = "eff_", "ntc_", "dlv_"


# --- replay -----------------------------------------------------------------------------------------------------------


def replay(
    ctx: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Notices (ntc_…) and deliveries (dlv_…).")] = None,
    connection: Annotated[str | None, typer.Option(help="Everything that came for this connection.")] = None,
    since: Annotated[str | None, typer.Option(help="With --connection: only what came since then, like 2026-03-01.")] = None,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait until the running hub has worked it off.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Look again at what came in: the records are fetched afresh. Doing it twice does nothing twice."""
    if not ids and connection is None:
        raise ConfigurationError("nothing is named.", where="replay", mend="Name notices, deliveries, or a --connection.")
    if since is not None and connection is None:
        raise ConfigurationError("--since belongs to --connection.", where="replay", mend="Name the connection too.")
    notices, deliveries = _sorted("replay", ids or ())

    async def work(hub: Hub) -> tuple[Replayed, int]:
        moment = moment_of(since, hub.settings.zone, "--since") if since else None
        wanted = Wanted(notices=notices, deliveries=deliveries, connection=connection, since=moment)
        with doing("Opening again what came in", quiet=as_json):
            done = await hub.store.run(Replay(hub.rules, hub.clock), wanted)
        return done, await _worked_off(hub, done, wait, quiet=as_json) if wait else 0

    done, left = with_hub(ctx, work)
    if as_json:
        print_json(done)
    else:
        _show(done)
    if left:
        complaints().print(f"After {wait} s {left} are still open. Is the hub running? lifecyclehub status", markup=False)
        raise typer.Exit(ATTENTION)


def _sorted(verb: str, ids: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    for one in ids:
        if not one.startswith((_NOTICE, _DELIVERY)):
            mend = "Give ids of notices (ntc_…) or deliveries (dlv_…)."
            if verb == "unpark":
                mend = "Give ids as `lifecyclehub status` shows what is parked: eff_…, ntc_… or dlv_…."
            elif one.startswith(_EFFECT):
                mend = f"An effect is never sent again by a replay; a parked one is by: lifecyclehub unpark {one}"
            raise ConfigurationError(f"{one!r} is no id of something that can be looked at again.", where=verb, mend=mend)
    notices = tuple(one for one in ids if one.startswith(_NOTICE))
    return notices, tuple(one for one in ids if one.startswith(_DELIVERY))


def _show(done: Replayed) -> None:
    out = console()
    out.print(f"The running hub looks again. Notices: {done.notices}, deliveries: {done.deliveries}.")
    for one in done.left:
        out.print(f"Left as it is: {one.id}, {one.why}", markup=False)


def _open(conn: Connection) -> int:
    """Count what is still open, with the partial indexes' own condition."""
    counts = 0
    for table in (tables.notice, tables.delivery):
        statement = select(func.count()).select_from(table).where(text("state IN ('open', 'held')"), table.c.state == "open")
        counts += int(conn.execute(statement).scalar() or 0)
    return counts


async def _worked_off(hub: Hub, done: Replayed, seconds: int, *, quiet: bool) -> int:
    """Wait until nothing is open any more; gives what is left when the time is over."""
    total = done.notices + done.deliveries
    left = total
    with doing("Waiting for the hub to work it off", total, quiet=quiet) as line:
        for _ in range(int(seconds / _LOOK_EVERY_S)):
            left = await hub.store.read(_open)
            line.at(max(total - left, 0))
            if not left:
                return 0
            await asyncio.sleep(_LOOK_EVERY_S)
    return left


# --- park and unpark --------------------------------------------------------------------------------------------------


def park(
    ctx: typer.Context,
    effects: Annotated[list[str], typer.Argument(help="Effects (eff_…).")],
    why: Annotated[str, typer.Option(help="Why, kept with it.")] = "",
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Put effects aside that were not sent yet: they wait until a person unparks them."""
    named = list(dict.fromkeys(effects))

    async def work(hub: Hub) -> Sequence[str]:
        aside = [Aside(effect=one, who=who or me(), why=why) for one in named]
        return await hub.store.run_all(ParkEffects(hub.clock), aside)

    _show_states(named, with_hub(ctx, work), as_json=as_json)


def unpark(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="Parked effects (eff_…), notices (ntc_…) or deliveries (dlv_…).")],
    anew: Annotated[bool, typer.Option("--anew", help="Try it again with present values, as when nothing is said.")] = False,
    is_: Annotated[str | None, typer.Option("--is", help="It was done: this record in the tool is the one.")] = None,
    url: Annotated[str | None, typer.Option(help="With --is: the address that opens the record.")] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Let it be, for good.")] = False,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Say what becomes of what is parked.

    Effects are tried anew, are done (--is), or cancelled (--cancel); notices and deliveries are looked at again.
    """
    named = dict.fromkeys(ids)  # twice the same is meant once
    effects = [one for one in named if one.startswith(_EFFECT)]
    others = [one for one in named if not one.startswith(_EFFECT)]
    _check_words(effects, others, is_, url, anew=anew, cancel=cancel)

    async def work(hub: Hub) -> tuple[Sequence[str], Replayed | None]:
        states: Sequence[str] = ()
        replayed = None
        if effects:
            verdict: Verdict = "is" if is_ is not None else "cancel" if cancel else "anew"
            words = [Answer(effect=one, verdict=verdict, who=who or me(), record_id=is_, url=url) for one in effects]
            states = await hub.store.run_all(AnswerEffects(hub.rules, hub.ids, hub.clock, hub.randomness), words)
        if others:
            notices, deliveries = _sorted("unpark", others)
            wanted = Wanted(notices=notices, deliveries=deliveries, only_parked=True)
            replayed = await hub.store.run(Replay(hub.rules, hub.clock), wanted)
        return states, replayed

    states, replayed = with_hub(ctx, work)
    if as_json:
        print_json({"effects": dict(zip(effects, states, strict=True)), "replayed": replayed})
    else:
        if effects:
            _show_states(effects, states, as_json=False)
        if replayed:
            _show(replayed)
    if replayed and replayed.left and not (replayed.notices or replayed.deliveries):
        raise typer.Exit(ATTENTION)


def _check_words(
    effects: Sequence[str], others: Sequence[str], is_: str | None, url: str | None, *, anew: bool, cancel: bool
) -> None:
    if (is_ is not None) + anew + cancel > 1:
        raise ConfigurationError("only one can become of it.", where="unpark", mend="Say --anew, --is or --cancel.")
    if is_ == "":
        raise ConfigurationError("no record is named.", where="unpark --is", mend="Give the record's id in the tool.")
    if (is_ or cancel) and others:
        raise ConfigurationError(
            f"{others[0]} is no effect, so it can only be looked at again.", where="unpark", mend="Leave --is and --cancel out."
        )
    if is_ and len(effects) != 1:
        raise ConfigurationError("one record cannot be several effects'.", where="unpark --is", mend="Unpark them one by one.")
    if url and not url.startswith(("https://", "http://")):
        raise ConfigurationError(f"{url!r} is no address.", where="unpark --url", mend="Copy it from the tool: https://…")
    if url and not is_:
        raise ConfigurationError(
            "an address belongs to a record.", where="unpark --url", mend="Say --is with the record's id too."
        )


def _show_states(effects: Sequence[str], states: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(dict(zip(effects, states, strict=True)))
        return
    for effect, state in zip(effects, states, strict=True):
        console().print(f"{effect} is {state} now.", markup=False)
