"""A swept page, or a part of it, as a delivery: hints of which records to look at, never values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lifecyclehub.dispatch.tools import Tools
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.jsonio import dumps
from lifecyclehub.messages import Notice
from lifecyclehub.store.things import Row

WAYS: Final = frozenset({"sweep", "import"})
"""The ways of a delivery whose body is ours and not a vendor's."""


def swept(tools: Tools, connection: Row, notices: Sequence[Notice], *, way: str = "sweep", door: str = "sweep") -> Arrival:
    """Make the delivery that a swept page, or a part of it, is kept as."""
    return Arrival(
        id=tools.ids.new("dlv"),
        endpoint=None,
        connection=connection["id"],
        connector=connection["connector"],
        way=way,
        door=door,
        vendor_key=None,
        headers={},
        body=dumps([notice_as_json(one) for one in notices]).encode(),
        received_at=tools.clock.now(),
        holder=tools.holder,
    )


def notice_as_json(notice: Notice) -> dict[str, object]:
    """Write a swept notice: hints only, never values."""
    return {
        "kind": notice.kind,
        "record_id": notice.record_id,
        "account": notice.account,
        "at": notice.at.isoformat() if notice.at else None,
        "version": notice.version,
        "change": notice.change,
        "into": notice.into,
    }


def swept_notices(body: bytes) -> list[Notice]:
    """Read the notices of a swept page."""
    return [
        Notice(
            kind=one["kind"],
            record_id=one["record_id"],
            account=one["account"],
            at=datetime.fromisoformat(one["at"]) if one["at"] else None,
            version=one["version"],
            change=one["change"],
            into=one["into"],
        )
        for one in json.loads(body)
    ]
