"""Step 5, settle: a snapshot meets what we know. Link or match, compare with the mirror, take over what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, update

from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.erased import brought_back, unless_erased
from lifecyclehub.intake.match import Matcher
from lifecyclehub.intake.merge import merge, say_parted
from lifecyclehub.intake.missed import FOUND
from lifecyclehub.intake.newness import age, by_looks, is_over
from lifecyclehub.intake.news import differs, genuine, take_over, without_later_times
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.waiting import place_early_ones
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.redaction import NOBODY
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Write
from lifecyclehub.store.things import Row
from lifecyclehub.vault.erased import ErasedPeople, came_back

_PROCESSED = Settled("processed")
_FOUND = Settled("processed", FOUND, "a sweep found it; no webhook had announced it")


class Settle:
    """Writes observations into a batch. Deciding is the next step; it sees what `batch.touched` names."""

    def __init__(self, ids: Ids, clock: Clock, people: ErasedPeople | None = None) -> None:
        self._ids, self._clock, self._people = ids, clock, people

    def __call__(self, conn: Connection, observations: Sequence[Observation]) -> tuple[Batch, list[Settled]]:
        """Settle all, in their order, and write the rows. Gives the batch and how each observation fared."""
        erased = self._people.look(conn) if self._people is not None else NOBODY
        batch = Batch(conn, self._ids, self._clock.now(), observations)
        matcher = Matcher(batch, observations)
        results = [unless_erased(erased, seen) or self._one(batch, matcher, seen) for seen in observations]
        batch.write()
        if erased:
            came_back(conn, brought_back(erased, observations, results))
        place_early_ones(batch)
        return batch, results

    def _one(self, batch: Batch, matcher: Matcher, seen: Observation) -> Settled:
        if seen.seen_at > batch.now:
            return Settled("look again", "clock", "our clock was put back since that look; the record is fetched anew")
        if seen.change == "deleted":
            return self._deleted(batch, seen)
        if seen.change == "merged" and seen.into is not None:
            return self._merged(batch, seen)
        link = dict(batch.links[seen.key]) if seen.key in batch.links else None
        match age(seen, link, batch.now):
            case "older":
                return Settled("ignored", "older", "a newer state of this record is known already")
            case "tie" if not seen.fetched or differs(batch, seen) or (link is not None and is_over(link)):
                return Settled("look again", "tie", "it may be as old as what is known; the record is fetched")
            case "newer" if any(self._overtaken(batch, other) for other in seen.related):
                return Settled("look again", "overtaken", "what came along was looked at again since; the record is fetched anew")
            case _:
                pass
        waiting = matcher.open_create(seen, link)
        if waiting is not None:
            return Settled("held", f"waiting({waiting})", "it may be what an effect of ours is just creating")
        return self._taken_in(batch, matcher, seen, link)

    def _taken_in(self, batch: Batch, matcher: Matcher, seen: Observation, link: Row | None) -> Settled:
        """Take in what is newer than what we know: link or match it, compare, take over, place."""
        took_over = bool(seen.merged) and (link is None or link["fetched_at"] is None)
        if seen.merged:
            merge(batch, seen.key, [(seen.connection, seen.kind, old) for old in seen.merged], seen)
            link = dict(batch.links[seen.key]) if seen.key in batch.links else None
        thing, verdict = matcher.thing_for(seen, link)
        snapshot = self._snapshot(batch, seen)
        self._relink(batch, seen, thing)
        first = link is None or link["thing"] is None
        news = genuine(batch, seen, first=first, thing=thing, link=link)
        if thing is None:
            verdict = verdict or Settled("ignored", "unlinked", "no link, no marker of ours, nothing to match it by")
            return replace(verdict, snapshot=snapshot)
        assert seen.fills is not None  # noqa: S101 (only kinds that fill something are matched)
        if took_over:
            news = without_later_times(seen.fills, thing, news)
        take_over(batch, seen, seen.fills, thing, news, first=first)
        for other in seen.related:
            self._related(batch, matcher, other)
        placed = matcher.place(seen, thing)
        self._touch(batch, seen.fills, thing)
        found = seen.unannounced and news and (seen.changed_at is not None or not first)
        return replace(verdict or placed or (_FOUND if found else _PROCESSED), snapshot=snapshot)

    @staticmethod
    def _overtaken(batch: Batch, other: Observation) -> bool:
        """Tell whether what came along may be older than what is known, and says something else.

        A company or contact that is nobody's is needed now, with its newest values.
        """
        link = batch.links.get(other.key)
        if not other.erased and other.fetched and age(other, link, batch.now) == "tie" and differs(batch, other):
            return True
        return (
            not other.erased
            and other.fills in ("client", "contact")
            and link is not None
            and link["thing"] is None
            and age(other, link, batch.now) != "newer"
        )

    def _related(self, batch: Batch, matcher: Matcher, other: Observation) -> None:
        """Take over a record that came along; its own notices have nothing to do with this."""
        link = dict(batch.links[other.key]) if other.key in batch.links else None
        if other.erased or age(other, link, batch.now) != "newer":
            return
        first = link is None or link["thing"] is None
        thing = matcher.related_thing(other, link)
        self._snapshot(batch, other)
        self._relink(batch, other, thing)
        news = genuine(batch, other, first=first, thing=thing, link=link)
        if thing is not None and other.fills is not None:
            take_over(batch, other, other.fills, thing, news, first=first)
            self._touch(batch, other.fills, thing)

    def _relink(self, batch: Batch, seen: Observation, thing: Any) -> None:
        known = batch.links.get(seen.key)
        if known is not None and known["merged_into"] is not None and known["thing"] is not None:
            say_parted(batch, seen, known)
        columns = {
            "address": seen.url,
            "version": seen.version,
            "changed_at": seen.changed_at,
            **_looked(seen),
            "deleted_at": None,  # a fresh look that shows it alive restores it
            "merged_into": None,
        }
        if thing is not None:
            columns |= {"thing_kind": seen.fills, "thing": thing["id"]}
        batch.set_link(seen.key, **columns)

    def _snapshot(self, batch: Batch, seen: Observation) -> str:
        snapshot = batch.ids.new("snp")
        batch.snapshots.append(
            {
                "id": snapshot,
                "connection": seen.connection,
                "kind": seen.kind,
                "record_id": seen.record_id,
                "version": seen.version,
                "changed_at": seen.changed_at,
                "fetch_began": seen.seen_at,
                "document": seen.document,
                "mapping_version": seen.mapping_version,
            }
        )
        return snapshot

    def _deleted(self, batch: Batch, seen: Observation) -> Settled:
        """A delete beats a late update: the link becomes a tombstone, which only a fresh look at a living record lifts."""
        link = batch.links.get(seen.key)
        known = by_looks(seen, link, batch.now) if link is not None and link["fetched_at"] is not None else "newer"
        if known == "older":
            return Settled("ignored", "older", "a look that began later found the record alive")
        if known == "tie":
            return Settled("look again", "tie", "another look was under way; the record is fetched anew")
        news = seen.unannounced and link is not None and link["thing"] is not None and link["deleted_at"] is None
        batch.set_link(seen.key, deleted_at=(link or {}).get("deleted_at") or seen.seen_at, **_looked(seen))
        if link is not None and link["thing"] is not None:
            thing = batch.thing(link["thing_kind"], link["thing"])
            if thing is not None:
                self._touch(batch, link["thing_kind"], thing)
        return Settled("processed", FOUND if news else "deleted", "the tool says that the record is gone")

    def _merged(self, batch: Batch, seen: Observation) -> Settled:
        """The surviving record inherits the link, so that nothing is created again for it."""
        assert seen.into is not None  # noqa: S101 (checked by the caller)
        batch.set_link(seen.key, **_looked(seen))
        merge(batch, (seen.connection, seen.kind, seen.into), [seen.key], seen)
        return Settled("processed", "merged", f"merged into {seen.into}")

    def _touch(self, batch: Batch, kind: str, thing: Any) -> None:
        if kind == "client":
            batch.touched_clients.add(thing["id"])
        elif thing.get("engagement"):
            batch.touched.add(thing["engagement"])
        elif thing.get("client"):
            batch.touched_clients.add(thing["client"])


def _looked(seen: Observation) -> dict[str, Any]:
    """Give the columns of a link that tell when a record was looked at."""
    return {"fetched_at": seen.seen_at, "answered_at": seen.answered_at}


_END_NOTICE = Write(
    update(tables.notice)
    .where(tables.notice.c.id == bindparam("which"))
    .values(
        state=bindparam("state"),
        reason=bindparam("reason"),
        detail=bindparam("detail"),
        done_at=bindparam("done_at"),
        snapshot=bindparam("seen"),
        not_before=None,
    )
)


def end_notices(conn: Connection, clock: Clock, ends: Sequence[tuple[Sequence[str], Settled]]) -> None:
    """Write how notices ended; one that must be looked at again stays open."""
    now = clock.now()
    values = [
        {
            "which": notice,
            "state": "open" if end.state == "look again" else end.state,
            "reason": end.reason,
            "detail": end.detail,
            "seen": end.snapshot,
            "done_at": now if end.state in ("processed", "ignored") else None,
        }
        for notices, end in ends
        for notice in notices
    ]
    if values:
        _END_NOTICE.run(conn, values)
