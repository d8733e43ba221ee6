"""Step 4, second half, fetch: a record is looked at afresh, mapped, and made into an observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from lifecyclehub.connector import About
from lifecyclehub.errors import MappingError
from lifecyclehub.intake.observation import Observation
from lifecyclehub.mapping import MappingSet
from lifecyclehub.messages import Document
from lifecyclehub.rules import Rules
from lifecyclehub.store.documents import document_as_json
from lifecyclehub.store.things import Row


def observe(
    rules: Rules,
    connection: Row,
    about: About,
    document: Document,
    seen_at: datetime,
    *,
    notices: Sequence[str],
    fetched: bool,
) -> Observation:
    """Map a document and what came along. Raises MappingError that names the file, field, value and how to mend it."""
    mappings = rules.mappings[about.id]
    account = {"id": connection["account_id"], **connection["account"]}
    top = _one(mappings, connection, about, document, seen_at, account)
    related = tuple(
        replace(_one(mappings, connection, about, other, seen_at, account), fetched=fetched, opens_client=top.opens_client)
        for other in document.related
        if about.kind(other.kind) is not None
    )
    return replace(top, related=related, notices=tuple(notices), fetched=fetched)


def _one(
    mappings: MappingSet, connection: Row, about: About, document: Document, seen_at: datetime, account: Mapping[str, Any]
) -> Observation:
    kind = about.kind(document.kind)
    if kind is None:
        raise MappingError(f"{about.id} gave a document of the undeclared kind {document.kind!r}.", where=about.id)
    inbound = mappings.inbound(document.kind)
    mapped = inbound.map(document, account) if inbound is not None else None
    created = mapped.values.get(f"{mapped.thing}.created_at") if mapped else None
    return Observation(
        connection=connection["id"],
        kind=document.kind,
        record_id=document.id,
        fills=mapped.thing if mapped else None,
        order=kind.order,
        resolution_s=kind.resolution_s,
        version=document.version,
        changed_at=document.changed_at,
        created_at=created,
        seen_at=seen_at,
        values=mapped.values if mapped else {},
        hub_owned=mapped.hub_owned if mapped else frozenset(),
        rewrites=kind.rewrites,
        marker=document.marker,
        url=document.url,
        merged=document.merged,
        document=document_as_json(document),
        mapping_version=mappings.version,
        opens_client=kind.creates_client,
    )


def gone(
    connection: str, kind: str, record_id: str, seen_at: datetime, notices: Sequence[str], into: str | None = None
) -> Observation:
    """Make the observation of a record that was deleted, or merged into another one."""
    return Observation(
        connection=connection,
        kind=kind,
        record_id=record_id,
        fills=None,
        seen_at=seen_at,
        change="deleted" if into is None else "merged",
        into=into,
        notices=tuple(notices),
    )
