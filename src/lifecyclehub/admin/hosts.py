"""The homes that may write to the tools. A copy elsewhere must not: two of them would do everything twice."""

from __future__ import annotations

import hashlib
import socket
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, make_url, select, update

from lifecyclehub.admin.stored import changed
from lifecyclehub.settings import Settings
from lifecyclehub.store import tables
from lifecyclehub.store.upsert import put_all

MACHINE_VARIABLE = "LIFECYCLEHUB_MACHINE"
_MACHINE_ID = Path("/etc/machine-id")
_table = tables.host


def host_fingerprint(settings: Settings) -> str:
    """Give a name of this machine, home and database, in hex: a copy of any of them has another one."""
    url = make_url(settings.database)
    schema = str(url.query.get("options", ""))  # one server may hold several installations, each in a schema
    place = (_machine(settings), str(settings.home.resolve()), url.host or "", str(url.port or ""), url.database or "", schema)
    return hashlib.sha256("\n".join(place).encode()).hexdigest()


def _machine(settings: Settings) -> str:
    """Name the machine; containers, which are new machines again and again, are given a name by the environment."""
    if given := settings.env.get(MACHINE_VARIABLE):
        return given
    if _MACHINE_ID.is_file() and (known := _MACHINE_ID.read_text("ascii", "replace").strip()):
        return known
    return f"{uuid.getnode():012x}"


def is_confirmed(conn: Connection, fingerprint: str) -> bool:
    """Tell whether a home may write to the tools."""
    return conn.execute(select(_table.c.fingerprint).where(_table.c.fingerprint == fingerprint)).first() is not None


@dataclass(frozen=True, slots=True)
class Host:
    """A home that may write to the tools: where it is, who said so, and when."""

    fingerprint: str
    name: str
    who: str
    since: datetime


def hosts(conn: Connection) -> list[Host]:
    """Give the homes that may write to the tools, oldest first."""
    rows = conn.execute(select(_table).order_by(_table.c.since)).mappings()
    return [Host(**row) for row in rows]


def forget_other_hosts(conn: Connection, settings: Settings) -> int:
    """Take the right to write to the tools from all homes but this one. Gives how many had it."""
    gone = conn.execute(delete(_table).where(_table.c.fingerprint != host_fingerprint(settings))).rowcount
    changed(conn)
    return gone


def confirm_host(conn: Connection, settings: Settings, who: str, now: datetime, *, looked: bool = False) -> None:
    """Let this home write to the tools from now on. `looked`: also where a restore left open what happened since."""
    if looked:
        conn.execute(update(tables.installation).values(looked_back_at=now))
    row = {"fingerprint": host_fingerprint(settings), "name": f"{socket.gethostname()}:{settings.home}", "who": who, "since": now}
    put_all(conn, _table, [row])
    changed(conn)
