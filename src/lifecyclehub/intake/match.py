"""Step 5, whose record is it: by its link, by our marker, by identity keys, or nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select

from lifecyclehub.dispatch.prepared import Receipt
from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.news import note_event, take_over
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.matching import Joins, LiveProject, Several, identity_keys, ticket_project
from lifecyclehub.messages import Done
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.state import records, rows
from lifecyclehub.store.things import Row, canonical

_effect = tables.effect
_UNCERTAIN = Query(
    select(
        _effect.c.id,
        _effect.c.connection,
        _effect.c.creates,
        func.coalesce(_effect.c.unsure_since, _effect.c.claimed_at).label("since"),
        _effect.c.marker,
    )
    .where(tables.UNCERTAIN_EFFECT)
    .order_by(_effect.c.id)
    # The lock keeps a receipt waiting: what is held here for its effect is there when it lets go of it.
    .with_for_update(read=True),  # which SQLite, with its one writer, leaves out
    _effect.c.creates,
)
_ENDED = ("finished", "lost")
_SKEW = timedelta(minutes=2)  # by which a vendor's clock may be behind ours


def _was_there_before(seen: Observation, create: Row) -> bool:
    """Tell whether a record is surely older than the claim of a create; of unknown times nothing is sure."""
    return seen.created_at is not None and create["since"] is not None and seen.created_at < create["since"] - _SKEW


class Matcher:
    """Finds or makes the thing that an observation is about, within one batch."""

    def __init__(self, batch: Batch, observations: Sequence[Observation]) -> None:
        self._batch = batch
        everything = [one for top in observations for one in (top, *top.related)]
        keys = [key for one in everything if one.fills for key in identity_keys(one.fills, one.values)]
        batch.load_identities([*keys, *(key for one in observations if one.fills for key in _requester_keys(one))])
        batch.load_addresses(one.values["teammate.email"] for one in everything if one.fills == "teammate" and _address_of(one))
        unlinked = [one for one in observations if (batch.links.get(one.key) or {}).get("thing") is None]
        self._creates = self._load_creates(unlinked)
        if batch.conn.dialect.name != "sqlite":
            batch.load_links(one.key for one in unlinked)  # a receipt may have linked one before the look at the creates
        markers = {one.marker for one in unlinked if one.marker}
        self._marked = {row["marker"]: row for row in rows(batch.conn, tables.effect, "marker", markers)}

    def _load_creates(self, unlinked: Sequence[Observation]) -> list[Row]:
        return _UNCERTAIN.each(self._batch.conn, {one.kind for one in unlinked})

    def open_create(self, seen: Observation, link: Row | None) -> str | None:
        """Name the open create that this unlinked record may come from, so that it waits until that is settled."""
        if link is not None and link["thing"] is not None:
            return None
        for create in self._creates:
            if create["connection"] != seen.connection or create["creates"] != seen.kind:
                continue
            if seen.marker is not None and seen.marker != create["marker"]:
                continue
            if seen.marker is not None or not _was_there_before(seen, create):
                return str(create["id"])
        return None

    def thing_for(self, seen: Observation, link: Row | None) -> tuple[Row | None, Settled | None]:
        """Give the thing, and a verdict where it is not simply processed."""
        if seen.fills is None:
            return None, Settled("ignored", "not mapped", "records of this kind fill nothing")
        if seen.fills == "teammate":
            return self._teammate(seen, link), None
        if link is not None and link["thing"] is not None:
            return self._batch.thing(seen.fills, link["thing"]), None
        if seen.marker is not None and seen.marker in self._marked:
            return self._by_marker(seen, self._marked[seen.marker])
        return getattr(self, f"_{seen.fills}")(seen), None

    def _by_marker(self, seen: Observation, effect: Row) -> tuple[Row | None, Settled | None]:
        """A record with our marker that is not the one we made is a double or a person's copy: shown, never acted on."""
        if effect["record_id"] is None:
            return None, self._made_after_all(seen, effect)
        if effect["record_id"] == seen.record_id:
            return self._batch.thing(seen.fills or "", effect["thing"]), None
        detail = f"it carries the marker of {effect['id']}, which made {effect['record_id']}: a copy, or a double"
        self._batch.findings.append(
            {
                "id": self._batch.ids.new("fin"),
                "kind": "double",
                "subject_kind": seen.kind,
                "subject": f"{seen.connection}/{seen.record_id}",
                "about": effect["id"],
                "detail": detail,
                "facts": {"effect": effect["id"], "made": effect["record_id"], "found": seen.record_id, "url": seen.url},
                "at": self._batch.now,
            }
        )
        return None, Settled("parked", "double", detail)

    def _made_after_all(self, seen: Observation, effect: Row) -> Settled:
        """What was thought not to be done may have been: its effect is told, or it waits with it for what is found out."""
        told = Receipt(
            effect=effect["id"],
            epoch=effect["epoch"],
            revision=effect["revision"],
            what="came to light",
            began_at=seen.seen_at,
            outcome=Done(record_id=seen.record_id, url=seen.url),
            detail=f"{seen.url or seen.record_id} carries its marker",
        )
        found = () if effect["state"] in ("parked", "in flight", "in doubt") else (told,)
        return Settled("held", f"waiting({effect['id']})", "it carries the marker of that effect", found=found)

    # --- by kind of thing ---------------------------------------------------------------------------------------------

    def _client(self, seen: Observation) -> Row | None:
        keys = identity_keys("client", seen.values)
        client = self._batch.owner_of(keys)
        if client is None and seen.opens_client:
            client = self._batch.make("client", name=None)
            note_event(self._batch, "client.met", "client", client, seen.created_at or seen.seen_at, seen)
        if client is not None:
            self._batch.claim_identities(keys, client["id"])
        return client

    def _deal(self, seen: Observation) -> Row | None:
        purpose = seen.values.get("deal.purpose") or "new"
        engagement = self._named_engagement(seen) if purpose == "change" else None
        if engagement is None:
            follows = self._named_engagement(seen) if purpose == "renewal" else None
            engagement = self._batch.make(
                "engagement",
                client=None,
                title=None,
                kind="project",
                billing=seen.values.get("deal.billing") or "fixed",
                follows=follows["id"] if follows else None,
                stage="intake",
                stage_since=None,
            )
        return self._batch.make("deal", engagement=engagement["id"])

    def _named_engagement(self, seen: Observation) -> Row | None:
        """A change or renewal names the deal whose engagement it belongs to."""
        named = seen.values.get("deal.engagement_ref")
        if not named:
            return None
        key = (seen.connection, seen.kind, str(named))
        link = self._batch.links.get(key) or next(iter(records(self._batch.conn, tables.link, {key})), None)
        deal = self._batch.thing("deal", link["thing"]) if link and link["thing_kind"] == "deal" else None
        return self._batch.thing("engagement", deal["engagement"]) if deal else None

    def _contact(self, seen: Observation) -> Row | None:
        client = self._client_of(seen)
        if client is None:
            return None
        email = seen.values.get("contact.email")
        known = [row for row in rows(self._batch.conn, tables.contact, "client", {client}) if email and row["email"] == email]
        known += [
            row for row in self._batch.new.get("contact", []) if row["client"] == client and email and row["email"] == email
        ]
        if known:
            self._batch.things.setdefault(("contact", known[0]["id"]), known[0])
            return self._batch.things["contact", known[0]["id"]]
        return self._batch.make("contact", client=client)

    def _client_of(self, seen: Observation) -> str | None:
        owner = self._batch.owner_of(identity_keys("contact", seen.values))
        return owner["id"] if owner is not None else None

    def _teammate(self, seen: Observation, link: Row | None) -> Row | None:
        """Give the teammate who has this address; the one of before where it is nobody else's yet."""
        email = _address_of(seen)
        mine = self._batch.addresses.get(email) if email is not None else None
        teammate = self._batch.thing("teammate", mine or (link or {}).get("thing"))
        if teammate is None and email is not None:
            teammate = self._batch.make("teammate", email=email)
        if teammate is not None and email is not None:
            self._batch.claim_address(email, teammate["id"])
            self._batch.known_in(seen.connection, teammate["id"])
        return teammate

    def _project(self, seen: Observation) -> Row | None:
        return None

    def _ticket(self, seen: Observation) -> Row | None:
        return self._batch.make("ticket")

    def _invoice(self, seen: Observation) -> Row | None:
        return self._batch.make("invoice")

    # --- what comes along, and where it belongs -----------------------------------------------------------------------

    def related_thing(self, other: Observation, link: Row | None) -> Row | None:
        """Give the thing of a related record: known, matched, or made where its kind may open a client."""
        if link is not None and link["thing"] is not None:
            return self._batch.thing(link["thing_kind"], link["thing"])
        if other.fills not in ("client", "contact"):
            return None
        return self._client(other) if other.fills == "client" else self._contact(other)

    def place(self, seen: Observation, thing: Row) -> Settled | None:
        """Put a thing where it belongs: a deal's engagement to its client, a ticket to its project, contacts to both.

        Gives a verdict when a person must choose.
        """
        client = self._client_among(seen)
        if seen.fills == "deal":
            self._place_deal(seen, thing, client)
        elif seen.fills in ("ticket", "invoice"):
            if client is not None and thing["client"] != client["id"]:
                thing["client"] = client["id"]
                self._batch.change(seen.fills, thing)
            if client is None and thing["client"] is None:
                self._batch.expect(seen.fills, thing, self._keys_along(seen))
            if seen.fills == "ticket":
                return place_ticket(self._batch, thing, seen.seen_at, seen)
            place_invoice(self._batch, thing)
        return None

    def _client_among(self, seen: Observation) -> Row | None:
        """The client that came along; else the one that a contact's identity keys name; else a person as client."""
        batch = self._batch
        for kind in ("client", "contact"):
            for other in seen.related:
                link = batch.links.get(other.key) or {}
                if other.fills == kind and link.get("thing"):
                    thing = batch.thing(kind, link["thing"])
                    client = thing if kind == "client" else batch.thing("client", (thing or {}).get("client"))
                    if client is not None:
                        return client
        owner = batch.owner_of(self._keys_along(seen))
        if owner is not None:
            return owner
        person = next((one for one in seen.related if one.fills == "contact" and not one.erased), None)
        return self._person_as_client(seen, person) if person is not None and seen.opens_client else None

    @staticmethod
    def _keys_along(seen: Observation) -> list[tuple[str, str]]:
        """Give the identity keys of whoever came along, and of a requester."""
        keys = [key for other in seen.related if other.fills for key in identity_keys(other.fills, other.values)]
        return [*keys, *_requester_keys(seen)]

    def _person_as_client(self, seen: Observation, person: Observation) -> Row:
        name = person.values.get("contact.name") or person.values.get("contact.email")
        client = self._batch.make("client", name=name, kind="person")
        self._batch.claim_identities(identity_keys("contact", person.values), client["id"])
        note_event(self._batch, "client.met", "client", client, seen.created_at or seen.seen_at, seen)
        return client

    def _place_deal(self, seen: Observation, thing: Row, client: Row | None) -> None:
        batch = self._batch
        engagement = batch.thing("engagement", thing["engagement"])
        if engagement is None:
            return
        changed: dict[str, Any] = {}
        if client is not None and engagement["client"] != client["id"]:
            changed["client"] = client["id"]
        if engagement["title"] != thing["title"] and thing["purpose"] != "change":
            changed["title"] = thing["title"]
        billing = seen.values.get("deal.billing")
        if billing and billing != engagement["billing"]:
            changed["billing"] = billing
        if changed:
            engagement.update(changed)
            batch.change("engagement", engagement)
        if client is not None:
            self._place_contacts(seen, engagement, client)

    def _place_contacts(self, seen: Observation, engagement: Row, client: Row) -> None:
        """The first contact of the deal is the primary one; later ones are only contacts."""
        for position, other in enumerate(one for one in seen.related if one.fills == "contact"):
            if other.erased:
                continue
            link = self._batch.links.get(other.key) or {}
            contact = self._batch.thing("contact", link.get("thing"))
            if contact is None:
                self._batch.claim_identities(identity_keys("contact", other.values), client["id"])
                contact = self._batch.make("contact", client=client["id"])
                take_over(self._batch, other, "contact", contact, other.values, first=True)
                self._batch.set_link(other.key, thing_kind="contact", thing=contact["id"])
            role = {"contact": contact["id"], "engagement": engagement["id"], "role": "primary" if position == 0 else "contact"}
            self._batch.new.setdefault("role", []).append(role)


def _address_of(seen: Observation) -> str | None:
    email = seen.values.get("teammate.email")
    return str(email) if email else None


def _requester_keys(seen: Observation) -> Sequence[tuple[str, str]]:
    return identity_keys("contact", {"contact.email": seen.values.get(f"{seen.fills}.requester.email")})


def place_invoice(batch: Batch, thing: Row, *, late: bool = False) -> None:
    """Give an invoice that we did not draft to the engagement its reference names, else to the client's only open one.

    One that is placed `late` must name it: it may well be of a time before that engagement.
    """
    if thing["client"] is None or thing["engagement"] is not None:
        return
    engagements = rows(batch.conn, tables.engagement, "client", {thing["client"]})
    said = str(canonical("invoice", thing).get("reference") or "").strip().casefold()
    named = [one for one in engagements if said and said == str(one["title"] or "").casefold()]
    of = named or [one for one in engagements if one["stage"] not in _ENDED and not late]
    if len(of) == 1:
        thing["engagement"] = of[0]["id"]
        batch.change("invoice", thing)


def place_ticket(batch: Batch, thing: Row, at: datetime, seen: Observation | None) -> Settled | None:
    """Join a ticket to the project it names, else to its client's only live one; with several a person chooses."""
    if thing["project"] is not None:
        return None
    named, live = projects_for(batch, thing["client"], thing["project_ref"])
    choice = ticket_project(thing["project_ref"], named, live)
    if isinstance(choice, Joins):
        project = batch.thing("project", choice.project)
        thing |= {"project": choice.project, "engagement": project["engagement"] if project else None}
        batch.change("ticket", thing)
        batch.touched.add(thing["engagement"])
        note_event(batch, "ticket.joined", "ticket", thing, at, seen)
        return None
    if isinstance(choice, Several):
        names = ", ".join(one.title for one in choice.choices)
        return Settled("parked", "several projects", f"{choice.reason} The choices: {names}")
    return None


def projects_for(batch: Batch, client: str | None, named: str | None) -> tuple[list[LiveProject], list[LiveProject]]:
    """Give the projects that a ticket may name, and the client's live ones, with the ids and addresses they go by."""
    # The lock keeps a receipt waiting that is just making a project: it sees the ticket then, or the ticket sees the project.
    engagements = {row["id"] for row in rows(batch.conn, tables.engagement, "client", {client}, lock=True)} if client else set()
    own = {row["id"]: row for row in rows(batch.conn, tables.project, "engagement", engagements)}
    if named:
        own |= {row["id"]: row for row in rows(batch.conn, tables.project, "id", _projects_named(batch, named))}
    links: dict[str, list[Row]] = {}
    for link in rows(batch.conn, tables.link, "thing", own):
        links.setdefault(link["thing"], []).append(link)
    known = {
        row["id"]: LiveProject(
            id=row["id"],
            title=row["title"] or row["id"],
            record_ids=tuple(link["record_id"] for link in links.get(row["id"], ())),
            urls=tuple(link["address"] for link in links.get(row["id"], ()) if link["address"]),
        )
        for row in own.values()
    }
    live = [known[row["id"]] for row in own.values() if row["status"] == "open" and row["engagement"] in engagements]
    return list(known.values()), live


def _projects_named(batch: Batch, named: str) -> set[str]:
    link = tables.link
    statement = select(link.c.thing).where(
        link.c.thing_kind == "project", or_(link.c.record_id == named, link.c.address == named)
    )
    return {row.thing for row in batch.conn.execute(statement)}
