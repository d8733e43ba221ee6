"""`tokens`: keys to the HTTP API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from lifecyclehub.admin.tokens import Token, list_tokens, make_token, revoke_token, rotate_token
from lifecyclehub.cli.shared import ask, writing
from lifecyclehub.cli.showing import AsJson, print_json, print_table
from lifecyclehub.errors import NotThere, nearest
from lifecyclehub.model.times import told
from lifecyclehub.ports import Ids, SystemClock, SystemRandomness

_YEAR_H = 365 * 24


def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the tokens by name, and how long they serve; they themselves cannot be shown again."""
    found = ask(ctx, list_tokens)
    if as_json:
        print_json(found)
        return
    now = SystemClock().now()
    rows = [(one.name, one.created_at, one.last_used or "never", _serves(one, now)) for one in found]
    empty = "There are no tokens: make one with `lifecyclehub tokens make NAME`."
    print_table(("Name", "Made", "Last used", "Serves"), rows, empty=empty)


def _serves(token: Token, now: datetime) -> str:
    if token.valid_until is None:
        return "until revoked"
    return f"until {told(token.valid_until)}" if now < token.valid_until else f"no more since {told(token.valid_until)}"


def make(ctx: typer.Context, name: Annotated[str, typer.Argument(help="A name that says who uses it.")]) -> None:
    """Make a token and show it this once."""
    clock, randomness = SystemClock(), SystemRandomness()
    with writing(ctx) as conn:
        token = make_token(conn, name, Ids(clock, randomness), randomness, clock.now())
    print(token)  # only now is it kept


def rotate(
    ctx: typer.Context,
    name: str,
    overlap_h: Annotated[float, typer.Option(min=0, max=_YEAR_H, help="For how many hours the old one still serves.")] = 24.0,
) -> None:
    """Make a new token under the same name and show it this once; the old one serves a while longer."""
    clock, randomness = SystemClock(), SystemRandomness()
    with writing(ctx) as conn:
        token = rotate_token(conn, name, Ids(clock, randomness), randomness, clock.now(), timedelta(hours=overlap_h))
    print(token)


def revoke(ctx: typer.Context, name: str) -> None:
    """Take a token's power away at once."""
    known = [one.name for one in ask(ctx, list_tokens)]
    with writing(ctx) as conn:
        if not revoke_token(conn, name):
            raise NotThere(f"there is no token {name!r}.", mend=nearest(name, known))
    print(f"The token {name} serves no more.")
