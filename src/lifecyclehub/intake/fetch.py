"""Step 4, second half, fetch: a record is looked at afresh, mapped, and made into an observation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lifecyclehub.connector import About
from lifecyclehub.errors import MappingError
from lifecyclehub.intake.erased import taken_out
from lifecyclehub.intake.observation import Observation
from lifecyclehub.mapping import MappingSet
from lifecyclehub.messages import Document
from lifecyclehub.redaction import NOBODY, Erased
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
    erased: Erased = NOBODY,
) -> Observation:
    """Map a document and what came along. Raises MappingError that names the file, field, value and how to mend it.

    Of a person who was `erased` nothing is mapped, and what others' records say of them is taken out before.
    """
    kind = about.kind(document.kind)
    if erased:
        document = taken_out(erased, rules.mappings[about.id], connection["id"], document)
    look = _Look(
        connection=connection["id"],
        about=about,
        mappings=rules.mappings[about.id],
        account={"id": connection["account_id"], **connection["account"]},
        seen_at=seen_at,
        fetched=fetched,
        erased=erased,
        opens_client=kind is not None and kind.creates_client,
    )
    return look.at(document, tuple(notices), document.related)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One look at a record. What came along opens a client, and was fetched, where the record does and was."""

    connection: str
    about: About
    mappings: MappingSet
    account: Mapping[str, Any]
    seen_at: datetime
    fetched: bool
    erased: Erased
    opens_client: bool

    def at(self, document: Document, notices: tuple[str, ...] = (), related: Sequence[Document] = ()) -> Observation:
        kind = self.about.kind(document.kind)
        if kind is None:
            said = f"{self.about.id} gave a document of the undeclared kind {document.kind!r}."
            raise MappingError(said, where=self.about.id)
        inbound = self.mappings.inbound(document.kind)
        if self.erased.is_record(self.connection, document.kind, document.id):
            fills = inbound.thing if inbound is not None else None
            bare = gone(self.connection, document.kind, document.id, self.seen_at, notices)
            return replace(bare, fills=fills, change="changed", erased=True, erasures=self.erased.version)
        mapped = inbound.map(document, self.account) if inbound is not None else None
        created = mapped.values.get(f"{mapped.thing}.created_at") if mapped else None
        return Observation(
            connection=self.connection,
            kind=document.kind,
            record_id=document.id,
            fills=mapped.thing if mapped else None,
            order=kind.order,
            resolution_s=kind.resolution_s,
            version=document.version,
            changed_at=document.changed_at,
            created_at=created,
            seen_at=self.seen_at,
            fetched=self.fetched,
            values=mapped.values if mapped else {},
            hub_owned=mapped.hub_owned if mapped else frozenset(),
            rewrites=kind.rewrites,
            marker=document.marker,
            url=document.url,
            merged=document.merged,
            document=document_as_json(document),
            mapping_version=self.mappings.version,
            opens_client=self.opens_client,
            related=tuple(self.at(other) for other in related if self.about.kind(other.kind) is not None),
            notices=notices,
            erasures=self.erased.version,
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
