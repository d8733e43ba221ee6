"""The tables: the canonical model first, then what the work needs. One installation serves one business."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)

from lifecyclehub.store.types import Instant, Json

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[Any]:
    return Column("id", Text, primary_key=True)


def _ref(name: str, target: str, *, nullable: bool = True) -> Column[Any]:
    return Column(name, Text, ForeignKey(f"{target}.id"), nullable=nullable)


def _version() -> Column[Any]:
    return Column("version", Integer, nullable=False, default=1, server_default="1")


def _fields() -> Column[Any]:
    """Canonical fields without a column of their own, custom ones too: {path within the thing: value}."""
    return Column("fields", Json, nullable=False, default=dict, server_default="{}")


def _open(name: str, table: Table, columns: tuple[str, ...], where: str) -> TextClause:
    """Index only the rows that still need work, and give the condition: a look must contain it word for word.

    Without the index each look walks a million finished rows. SQLite takes a partial index only for a statement that
    holds its condition as it stands; bound values do not tell it that the condition is met.
    """
    Index(name, *(table.c[column] for column in columns), sqlite_where=text(where))
    return text(where)


# --- the canonical model ---------------------------------------------------------------------------------------------

client = Table(
    "client",
    metadata,
    _id(),
    Column("kind", Text),
    Column("name", Text),
    Column("standing", Text, nullable=False, server_default="lead"),
    Column("standing_since", Instant),
    Column("currency", Text),
    Column("terms", Integer),
    _ref("parent", "client"),
    _fields(),
    _version(),
    Column("created_at", Instant, nullable=False),
)
identity_key = Table(
    "identity_key",
    metadata,
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    _ref("client", "client", nullable=False),
    PrimaryKeyConstraint("kind", "value"),
    sqlite_with_rowid=False,  # it is only looked for by its key
)
# Whom tickets and invoices are about that nobody knows yet: they are placed as soon as such a client is met.
stranger = Table(
    "stranger",
    metadata,
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("thing_kind", Text, nullable=False),
    Column("thing", Text, nullable=False),
    PrimaryKeyConstraint("kind", "value", "thing"),
)
contact = Table(
    "contact",
    metadata,
    _id(),
    Column("client", Text, ForeignKey("client.id"), index=True),
    Column("name", Text),
    Column("email", Text, index=True),
    _fields(),
)
engagement = Table(
    "engagement",
    metadata,
    _id(),
    Column("client", Text, ForeignKey("client.id")),
    Column("title", Text),
    Column("kind", Text, nullable=False, server_default="project"),
    Column("billing", Text, nullable=False, server_default="fixed"),
    _ref("follows", "engagement"),
    Column("stage", Text, nullable=False, server_default="intake"),
    Column("stage_since", Instant),
    Column("undecided", Boolean, nullable=False, server_default=text("false")),  # a receipt linked something since
    _version(),
    Column("created_at", Instant, nullable=False),
)
UNDECIDED = _open("ix_engagement_undecided", engagement, ("id",), "undecided")
# A client may have a thousand engagements; which stages they are in is read from the index alone.
Index("ix_engagement_client_stage", engagement.c.client, engagement.c.stage, engagement.c.kind)
role = Table(
    "role",
    metadata,
    _ref("contact", "contact", nullable=False),
    Column("engagement", Text, ForeignKey("engagement.id"), index=True),
    Column("role", Text, nullable=False),
    UniqueConstraint("contact", "engagement", "role"),
)
teammate = Table("teammate", metadata, _id(), Column("email", Text, unique=True, nullable=False), Column("name", Text), _fields())
# Every address that a tool ever showed for a teammate: who takes another one is still found by the old one.
teammate_email = Table(
    "teammate_email", metadata, Column("email", Text, primary_key=True), _ref("teammate", "teammate", nullable=False)
)
deal = Table(
    "deal",
    metadata,
    _id(),
    Column("engagement", Text, ForeignKey("engagement.id"), nullable=False, index=True),
    Column("title", Text),
    Column("purpose", Text, nullable=False, server_default="new"),
    Column("status", Text),
    Column("won_at", Instant),
    Column("value_minor", BigInteger),
    Column("value_currency", Text),
    _fields(),
)
project = Table(
    "project",
    metadata,
    _id(),
    Column("engagement", Text, ForeignKey("engagement.id"), nullable=False, index=True),
    _ref("deal", "deal"),
    Column("title", Text),
    Column("status", Text),
    Column("closed_at", Instant),
    _fields(),
)
milestone = Table(
    "milestone",
    metadata,
    _id(),
    Column("project", Text, ForeignKey("project.id"), nullable=False, index=True),
    Column("title", Text),
    Column("status", Text),
    Column("accepted_at", Instant),
    _fields(),
)
ticket = Table(
    "ticket",
    metadata,
    _id(),
    Column("client", Text, ForeignKey("client.id"), index=True),
    Column("engagement", Text, ForeignKey("engagement.id"), index=True),
    _ref("project", "project"),
    Column("project_ref", Text),
    Column("number", Text),
    Column("subject", Text),
    Column("status", Text),
    Column("created_at", Instant),
    _fields(),
)
UNPLACED = _open("ix_ticket_unplaced", ticket, ("client",), "project IS NULL")
NAMING = _open("ix_ticket_naming", ticket, ("project_ref",), "project IS NULL AND project_ref IS NOT NULL")
change = Table(
    "change",
    metadata,
    _id(),
    Column("engagement", Text, ForeignKey("engagement.id"), nullable=False, index=True),
    _ref("project", "project"),
    _ref("ticket", "ticket"),
    _ref("deal", "deal"),
    Column("state", Text, nullable=False),
    Column("price_minor", BigInteger),
    Column("price_currency", Text),
)
period = Table(
    "period",
    metadata,
    _id(),
    _ref("engagement", "engagement", nullable=False),
    Column("starts_on", Text, nullable=False),
    UniqueConstraint("engagement", "starts_on"),
)
charge = Table(
    "charge",
    metadata,
    _id(),
    Column("engagement", Text, ForeignKey("engagement.id"), nullable=False, index=True),
    _ref("project", "project"),
    Column("source_kind", Text, nullable=False),  # scope | milestone | change | deposit | period | time
    Column("source_id", Text, nullable=False),
    Column("part", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("amount_currency", Text, nullable=False),
    Column("due_at", Instant),
    UniqueConstraint("source_kind", "source_id", "part"),
)
invoice = Table(
    "invoice",
    metadata,
    _id(),
    Column("client", Text, ForeignKey("client.id"), index=True),
    Column("engagement", Text, ForeignKey("engagement.id"), index=True),
    Column("number", Text),
    Column("status", Text, nullable=False),  # drafting | draft | approved | paid | void
    Column("kind", Text, nullable=False, server_default="invoice"),
    Column("total_minor", BigInteger),
    Column("total_currency", Text),
    Column("paid_minor", BigInteger),
    Column("due_on", Text),
    _fields(),
)
UNPLACED_INVOICE = _open("ix_invoice_unplaced", invoice, ("client",), "engagement IS NULL")
invoice_line = Table(
    "invoice_line",
    metadata,
    _ref("invoice", "invoice", nullable=False),
    _ref("charge", "charge"),
    Column("position", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("amount_currency", Text, nullable=False),
    Column("live", Boolean, nullable=False, server_default=text("true")),  # false once the invoice is void
    PrimaryKeyConstraint("invoice", "position"),
)
# A charge is on at most one invoice that is not void, whoever drafts in whatever order.
LIVE_LINE = text("live")
Index(
    "uq_invoice_line_charge_live",
    invoice_line.c.charge,
    unique=True,
    sqlite_where=LIVE_LINE,
)
link = Table(
    "link",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("thing_kind", Text),  # None: an unlinked record, known but nobody's
    Column("thing", Text),
    Column("address", Text),
    Column("version", Text),
    Column("changed_at", Instant),
    Column("fetched_at", Instant),  # when the last look began, and when its answer came
    Column("answered_at", Instant),
    Column("deleted_at", Instant),
    Column("merged_into", Text),
    PrimaryKeyConstraint("connection", "kind", "record_id"),
    Index("ix_link_thing", "thing"),
    sqlite_with_rowid=False,  # it is only looked for by its key
)
for _column in ("record_id", "address"):  # a ticket names its project by one of these
    _open(f"ix_link_project_{_column}", link, (_column,), "thing_kind = 'project'")
mirror = Table(
    "mirror",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("seen", Text),
    Column("sent", Text),
    Column("shown_by", Instant),  # by then the tool shows what was sent; NULL while its answer is awaited
    Column("passed", Json),  # what was sent before it and not seen: it may still show for a while
    Column("lands_by", Instant),  # until then the tool may still do what was sent to it and never answered
    PrimaryKeyConstraint("connection", "kind", "record_id", "field"),
    sqlite_with_rowid=False,  # it is only looked for by its key
)

# --- the installation, its connections and ways in ------------------------------------------------------------------

installation = Table(
    "installation",
    metadata,
    _id(),
    Column("outbound_allowed", Boolean, nullable=False, server_default=text("true")),
    Column("configured", Integer, nullable=False, server_default="0"),  # counts changes, so that a running hub notices
    Column("applied_set", Text),  # the set that counts
    Column("files_set", Text),  # the set that the home's files made, or were made from, last
    Column("restored_from", Instant),  # when the backup was made that this store came from
    Column("restored_at", Instant),
    Column("looked_back_at", Instant),  # since then it is known what happened between these two
    Column("erasures", Integer, nullable=False, server_default="0"),  # counts who was erased, and who came back
    Column("created_at", Instant, nullable=False),
)
host = Table(  # the homes that may write to the tools, each on its machine
    "host",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("since", Instant, nullable=False),
)
grant = Table(
    "grant",
    metadata,
    _id(),
    Column("connector", Text, nullable=False),
    Column("auth", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)
api_token = Table(
    "api_token",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("last_used", Instant),
    Column("valid_until", Instant),
)
connection = Table(
    "connection",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("connector", Text, nullable=False),
    _ref("grant", "grant", nullable=False),
    Column("account_id", Text, nullable=False),
    Column("account", Json, nullable=False),  # name, currency, timezone as the vendor told them
    Column("roles", Json, nullable=False),
    Column("settings", Json, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),  # active | paused | removed
    Column("reason", Text),
    Column("listens", Boolean, nullable=False, server_default=text("true")),
    Column("polls", Boolean, nullable=False, server_default=text("false")),
    Column("active_since", Instant),  # when its credentials last became good: a refusal of older ones says nothing
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("connector", "account_id"),
)
CONNECTED = connection.c.state != "removed"  # a removed one stays for what it did, and for the day it is added again
endpoint = Table(
    "endpoint",
    metadata,
    _id(),
    Column("connector", Text, nullable=False),
    Column("door", Text, nullable=False),
    Column("connection", Text, ForeignKey("connection.id"), index=True),  # None: all connections of the vendor app
    Column("resource", Text),  # of the account, where the vendor makes one hook for each
    Column("state", Text, nullable=False),  # registering | listening | closed
    Column("registering_until", Instant),
    Column("last_heard", Instant),
    Column("created_at", Instant, nullable=False),
)
secret = Table(
    "secret",
    metadata,
    _id(),
    Column("owner_kind", Text, nullable=False),  # grant | endpoint
    Column("owner", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),  # candidate | active
    Column("valid_from", Instant, nullable=False),
    Column("valid_until", Instant),
    Index("ix_secret_owner", "owner_kind", "owner"),
)
subscription = Table(
    "subscription",
    metadata,
    _id(),
    Column("connection", Text, ForeignKey("connection.id"), nullable=False, index=True),
    _ref("endpoint", "endpoint", nullable=False),
    Column("vendor_id", Text, nullable=False),
    Column("resource", Text),
    Column("state", Text, nullable=False, server_default="active"),  # active | failing | by hand | ending
    Column("reason", Text),
    Column("made_at", Instant),
    Column("expires_at", Instant),
    Column("last_heard", Instant),
    Column("last_probe", Instant),
    Column("failures", Integer, nullable=False, default=0, server_default="0"),
    Column("not_before", Instant),
    Column("renewed", Integer, nullable=False, default=0, server_default="0"),
)

# --- what came in ----------------------------------------------------------------------------------------------------

delivery = Table(
    "delivery",
    metadata,
    _id(),
    _ref("endpoint", "endpoint"),
    _ref("connection", "connection"),  # of a swept page
    Column("connector", Text, nullable=False),
    Column("way", Text, nullable=False),  # webhook | sweep | import | replay
    Column("door", Text, nullable=False),
    Column("vendor_key", Text),
    Column("headers", Json, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("secret", Text),
    Column("state", Text, nullable=False, server_default="open"),  # open | held | split | parked
    Column("reason", Text),
    Column("holder", Text),  # the hub that has it in its hands; None: whoever comes first
    Column("crash_count", Integer, nullable=False, server_default="0"),
    Index(
        "uq_delivery_key",
        "endpoint",
        "vendor_key",
        unique=True,
        sqlite_where=text("vendor_key IS NOT NULL"),
    ),
    # Equal bytes fold only into a delivery that is not yet split: thin hooks repeat byte for byte.
    Index(
        "uq_delivery_open_body",
        "endpoint",
        "body_hash",
        unique=True,
        sqlite_where=text("state = 'open' AND way = 'webhook'"),
    ),
)
OPEN_DELIVERY = _open("ix_delivery_open", delivery, ("connector", "id"), "state IN ('open', 'held')")
_open("ix_delivery_parked", delivery, ("id",), "state = 'parked'")
refusal = Table(
    "refusal",
    metadata,
    _id(),
    Column("endpoint", Text, nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("header_names", Json, nullable=False),
    Column("url", Text, nullable=False),
)
notice = Table(
    "notice",
    metadata,
    _id(),
    Column("delivery", Text, ForeignKey("delivery.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("endpoint", Text),
    Column("way", Text, nullable=False, default="webhook", server_default="webhook"),  # of its delivery
    Column("connection", Text),
    Column("connector", Text, nullable=False),
    Column("account", Text),
    Column("key", Text),
    Column("kind", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("change", Text, nullable=False),
    Column("into", Text),
    Column("at", Instant),
    Column("version", Text),
    Column("actor", Text),
    Column("document", Json),
    Column("state", Text, nullable=False),  # open | held | processed | ignored | parked
    Column("holder", Text),
    Column("reason", Text),
    Column("detail", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("first_failed_at", Instant),
    Column("not_before", Instant),
    Column("snapshot", Text),
    Column("last_look", Instant),  # when the last look at its record had begun as this one failed
    Column("kept_at", Instant, nullable=False),
    Column("done_at", Instant),
    UniqueConstraint("delivery", "position"),
    Index(
        "uq_notice_key",
        "endpoint",
        "account",
        "key",
        unique=True,
        sqlite_where=text("key IS NOT NULL"),
    ),
)
OPEN_NOTICE = _open("ix_notice_open", notice, ("id",), "state IN ('open', 'held')")
# What is tried again, and what nobody has in hand: never what is just on its way, so that it costs a good notice nothing.
DUE_NOTICE = _open("ix_notice_due", notice, ("id",), "state = 'open' AND (not_before IS NOT NULL OR holder IS NULL)")
HELD_NOTICE = _open("ix_notice_held", notice, ("reason",), "state = 'held'")
_open("ix_notice_parked", notice, ("id",), "state = 'parked'")
# What a sweep found and no webhook announced yet; a late webhook still may.
FOUND_NOTICE = _open("ix_notice_found", notice, ("id",), "reason = 'found'")
Index("ix_notice_record", notice.c.connection, notice.c.kind, notice.c.record_id)
snapshot = Table(
    "snapshot",
    metadata,
    _id(),
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("version", Text),
    Column("changed_at", Instant),
    Column("fetch_began", Instant, nullable=False),
    Column("document", Json, nullable=False),
    Column("mapping_version", Text),
    Index("ix_snapshot_record", "connection", "kind", "record_id", "fetch_began"),
)
event = Table(
    "event",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("thing_kind", Text, nullable=False),
    Column("thing", Text, nullable=False),
    Column("engagement", Text, index=True),
    Column("client", Text),
    Column("at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("notice", Text),
    Column("facts", Json, nullable=False),
    UniqueConstraint("kind", "thing", "at"),
)

# --- what must happen ------------------------------------------------------------------------------------------------

handoff = Table(
    "handoff",
    metadata,
    _id(),
    Column("state", Text, nullable=False, server_default="off"),  # off | shadow | approval | on
    Column("go_live", Instant),
)
handoff_switch = Table(
    "handoff_switch",
    metadata,
    _id(),
    Column("handoff", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("go_live", Instant),
    Column("who", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
effect = Table(
    "effect",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),
    Column("handoff", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("item", Text, nullable=False, server_default=""),
    Column("round", Integer, nullable=False, server_default="1"),
    Column("round_by", Text),
    Column("cause_kind", Text, nullable=False),  # the subject whose state made it due, where it is shared by several
    Column("cause", Text, nullable=False),
    Column("engagement", Text, index=True),
    Column("client", Text, index=True),
    Column("role", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("connection", Text),
    Column("target", Text),
    Column("creates", Text),
    Column("thing", Text),  # ours, reserved at the claim of a create
    Column("marker", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("applied_set", Text, nullable=False),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("input", Json),
    Column("body", Json),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("holder", Text),
    Column("claimed_at", Instant),
    Column("unsure_since", Instant),  # claimed then, and since then it may have been done
    Column("deadline", Instant),
    Column("not_before", Instant),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("first_failed_at", Instant),
    Column("handle", Text),
    Column("record_id", Text),
    Column("address", Text),
    Column("fact_at", Instant),
    Column("planned_at", Instant, nullable=False),
    Column("done_at", Instant),
)
OPEN_EFFECT = _open(
    "ix_effect_open", effect, ("state", "not_before"), "state IN ('planned', 'held', 'ready', 'in flight', 'in doubt')"
)
ON_TARGET = _open(
    "ix_effect_target", effect, ("target", "id"), "target IS NOT NULL AND state IN ('ready', 'in flight', 'in doubt')"
)
UNCERTAIN_EFFECT = _open("ix_effect_create", effect, ("creates", "connection"), "state IN ('in flight', 'in doubt')")
_open("ix_effect_parked", effect, ("id",), "state = 'parked'")
Index("ix_effect_subject", effect.c.subject)
need = Table(
    "need",
    metadata,
    _ref("effect", "effect", nullable=False),
    Column("needed", Text, nullable=False, index=True),  # the id of the effect that must be done first
    PrimaryKeyConstraint("effect", "needed"),
)
attempt = Table(
    "attempt",
    metadata,
    _id(),
    Column("effect", Text, ForeignKey("effect.id"), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("what", Text, nullable=False),  # sent | looked up | checked | by a person
    Column("began_at", Instant, nullable=False),
    Column("at", Instant, nullable=False),
    Column("bytes_sent", Boolean),
    Column("handle", Text),
    Column("status", Integer),
    Column("reply", Text),
    Column("outcome", Text, nullable=False),
    Column("detail", Text),
)
gate = Table(
    "gate",
    metadata,
    _id(),
    Column("effect", Text, ForeignKey("effect.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
)
approval = Table(
    "approval",
    metadata,
    _id(),
    Column("effect", Text, ForeignKey("effect.id"), nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("answer", Text, nullable=False),
)
finding = Table(
    "finding",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # double | drift | missed | unassigned | brake | withheld
    Column("subject_kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("about", Text, nullable=False),  # what tells two findings of one subject apart
    Column("detail", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("at", Instant, nullable=False),
    Column("settled_at", Instant),  # a person has looked, and said why nothing more is to be done
    Column("settled_by", Text),
    Column("settled_why", Text),
    UniqueConstraint("kind", "subject_kind", "subject", "about"),
)
cursor = Table(
    "cursor",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("way", Text, nullable=False, default="changes", server_default="changes"),  # changes | full | import
    Column("value", Text),
    Column("began_at", Instant),  # of the pass under way, None between two
    Column("swept_at", Instant),  # when the last whole pass ended
    Column("not_before", Instant),
    Column("failures", Integer, nullable=False, default=0, server_default="0"),
    Column("reason", Text),  # why the last try did not end
    Column("listed", BigInteger, nullable=False, default=0, server_default="0"),  # records, in the pass under way
    Column("found", BigInteger, nullable=False, default=0, server_default="0"),
    Column("missed", BigInteger, nullable=False, default=0, server_default="0"),  # by webhooks
    Column("holder", Text),
    Column("held_until", Instant),
    PrimaryKeyConstraint("connection", "kind", "way"),
)
listed = Table(  # what the full pass under way has listed: at its end, what is missing from it is looked at
    "listed",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    PrimaryKeyConstraint("connection", "kind", "record_id"),
)
usage = Table(
    "usage",
    metadata,
    Column("connection", Text, nullable=False),
    Column("day", Text, nullable=False),  # in UTC
    Column("calls", BigInteger, nullable=False),
    PrimaryKeyConstraint("connection", "day"),
)
breaker = Table(
    "breaker",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("open_until", Instant, nullable=False),
    Column("pause_s", Integer, nullable=False),
    Column("probe_until", Instant),  # one call is under way to see whether the tool answers again
    Column("since", Instant, nullable=False),
    Column("reason", Text, nullable=False),
)
lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Instant, nullable=False),
    Column("epoch", Integer, nullable=False),
)
applied_set = Table(
    "applied_set",
    metadata,
    _id(),
    Column("content", Json, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

# --- who was erased --------------------------------------------------------------------------------------------------

erasure = Table(
    "erasure",
    metadata,
    _id(),
    Column("who", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("place", Text),  # the table that is being gone through, and the row where it goes on
    Column("after", Json),
    Column("redacted", BigInteger, nullable=False, default=0, server_default="0"),  # rows
    Column("done_at", Instant),
)
# All that is left of a person: keyed hashes of their records' ids, addresses and names, by which later news is known.
tombstone = Table(
    "tombstone",
    metadata,
    Column("mark", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # record | thing | mention | email | phone | name | part
    Column("words", Integer, nullable=False, server_default="0"),  # of a name
    Column("erasure", Text, ForeignKey("erasure.id"), nullable=False, index=True),
)
