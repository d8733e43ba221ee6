"""`doctor`, `confirm`, `backup`, `restore`, `keys`: keeping an installation well, and its copies quiet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from lifecyclehub.admin.backup import PutBack, back_up, mark_restored, put_back
from lifecyclehub.admin.doctor import examine
from lifecyclehub.admin.hosts import confirm_host, forget_other_hosts, host_fingerprint, hosts
from lifecyclehub.admin.keys import drop_old_keys, rotate_keys
from lifecyclehub.cli.codes import ATTENTION
from lifecyclehub.cli.home import settings_of
from lifecyclehub.cli.progress import doing, is_quiet
from lifecyclehub.cli.shared import Who, home_of, me, moment_of, writing
from lifecyclehub.cli.showing import AsJson, clock, console, print_json
from lifecyclehub.ports import SystemClock
from lifecyclehub.settings import read_settings
from lifecyclehub.store.database import open_engine


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Check that everything in the store is as it must be; ends with 1 when something is not."""
    settings = settings_of(home_of(ctx))
    engine = open_engine(settings.database)
    try:
        with doing("Examining the store", quiet=is_quiet(ctx)):
            found = examine(engine, settings, SystemClock().now())
    finally:
        engine.dispose()
    if as_json:
        print_json(found)
    out = console()
    for one in () if as_json else found:
        out.print(f"{one.check}: {one.what}\n  Where: {one.where}\n  Mend:  {one.mend}", markup=False)
    if not as_json and not found:
        out.print("Everything is as it must be.")
    if found:
        raise typer.Exit(ATTENTION)


def confirm(
    ctx: typer.Context,
    alone: Annotated[bool, typer.Option("--alone", help="Take that right from all other homes.")] = False,
    without_looking: Annotated[
        bool, typer.Option("--without-looking", help="After a restore: write before every tool was looked at.")
    ] = False,
    who: Who = None,
) -> None:
    """Let this home write to the tools: a copied or moved installation sends nothing before."""
    settings, now = settings_of(home_of(ctx)), SystemClock().now()
    with writing(ctx) as conn:
        confirm_host(conn, settings, who or me(), now, looked=without_looking)
        gone = forget_other_hosts(conn, settings) if alone else 0
        others = [one for one in hosts(conn) if one.fingerprint != host_fingerprint(settings)]
    print("This home writes to the tools from now on.")
    if gone:
        print(f"{gone} other homes do so no more.")
    for one in others:
        print(f"So does {one.name} (since {one.since:%Y-%m-%d}, {one.who}). They must share one database; else stop it.")


def backup(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Copy the database into a file while the hub runs. The key is not in it: keep a copy of that apart."""
    settings = settings_of(home_of(ctx))
    with doing("Copying the database", quiet=is_quiet(ctx)):
        size = back_up(settings, file)
    print(f"{file}: {size} bytes. Keep {settings.home / 'key'} apart from it: without that no credential can be read.")


def restore(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="What `backup` made; none for a PostgreSQL that you restored.")] = None,
    made_at: Annotated[str | None, typer.Option(help="When the backup was made (the newest that it knows of).")] = None,
) -> None:
    """Put a backup back. What may have been done since is looked for in the tools before anything is written to them."""
    settings, now = read_settings(home_of(ctx)), SystemClock().now()  # the database may be what is lost
    made: datetime | None = moment_of(made_at, settings.zone, "--made-at") if made_at else None
    if file is not None:
        with doing("Putting the database back", quiet=is_quiet(ctx)):
            done = put_back(settings, file, now, made)
    else:
        with writing(ctx) as conn:
            done = PutBack(*mark_restored(conn, made, now), None)
    if done.aside is not None:
        print(f"What stood there before is kept as {done.aside}.")
    print(f"Restored as of {clock(done.made_at)}. {done.open} effects that were not done then may have been done since.")
    if done.erased is None:
        print("Who was erased since the backup is not known here: erase them again (lifecyclehub erase).")
    elif done.erased:
        print(f"Erased since the backup: {done.erased}. The hub erases them from this one too when it starts.")
    print("Start the hub: it looks at every tool first, and writes to them once it knows.")


# --- keys -------------------------------------------------------------------------------------------------------------


def rotate(ctx: typer.Context) -> None:
    """Make a new key and seal every secret with it, while the hub runs. The old one still opens what it sealed."""
    settings = settings_of(home_of(ctx))
    with doing("Sealing secrets anew", quiet=is_quiet(ctx)):
        count = rotate_keys(settings)
    print(f"{count} secrets are sealed with a new key. Copy {settings.home / 'key'} to where you keep its copy.")
    print("In a minute, when every hub has read it: lifecyclehub keys forget")


def forget(ctx: typer.Context) -> None:
    """Drop the old keys, once nothing is sealed with them any more."""
    settings = settings_of(home_of(ctx))
    count = drop_old_keys(settings, SystemClock().now())
    print(f"Old keys that are gone now: {count}. A backup from before can be read only with the key that was kept with it.")
