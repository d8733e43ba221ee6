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
    Index(name, *(table.c[column] for column in columns), sqlite_where=text(where), postgresql_where=text(where))
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
    _version(),
    Column("created_at", Instant, nullable=False),
)
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
teammate = Table("teammate", metadata, _id(), Column("email", Text, unique=True, nullable=False), Column("name", Text))
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
    postgresql_where=LIVE_LINE,
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
    Column("fetched_at", Instant),
    Column("deleted_at", Instant),
    Column("merged_into", Text),
    PrimaryKeyConstraint("connection", "kind", "record_id"),
    Index("ix_link_thing", "thing"),
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
    PrimaryKeyConstraint("connection", "kind", "record_id", "field"),
)

# --- the installation, its connections and ways in ------------------------------------------------------------------

installation = Table(
    "installation",
    metadata,
    _id(),
    Column("host_fingerprint", Text, nullable=False),
    Column("outbound_allowed", Boolean, nullable=False, server_default=text("true")),
    Column("configured", Integer, nullable=False, server_default="0"),  # counts changes, so that a running hub notices
    Column("applied_set", Text),
    Column("created_at", Instant, nullable=False),
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
    Column("state", Text, nullable=False, server_default="active"),  # active | paused
    Column("reason", Text),
    Column("listens", Boolean, nullable=False, server_default=text("true")),
    Column("polls", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("connector", "account_id"),
)
endpoint = Table(
    "endpoint",
    metadata,
    _id(),
    Column("connector", Text, nullable=False),
    Column("door", Text, nullable=False),
    Column("connection", Text, ForeignKey("connection.id"), index=True),  # None: all connections of the vendor app
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
    Column("state", Text, nullable=False, server_default="active"),
    Column("reason", Text),
    Column("expires_at", Instant),
    Column("last_heard", Instant),
    Column("last_probe", Instant),
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
    Column("crash_count", Integer, nullable=False, server_default="0"),
    Index(
        "uq_delivery_key",
        "endpoint",
        "vendor_key",
        unique=True,
        sqlite_where=text("vendor_key IS NOT NULL"),
        postgresql_where=text("vendor_key IS NOT NULL"),
    ),
    # Equal bytes fold only into a delivery that is not yet split: thin hooks repeat byte for byte.
    Index(
        "uq_delivery_open_body",
        "endpoint",
        "body_hash",
        unique=True,
        sqlite_where=text("state = 'open' AND way = 'webhook'"),
        postgresql_where=text("state = 'open' AND way = 'webhook'"),
    ),
)
OPEN_DELIVERY = _open("ix_delivery_open", delivery, ("id",), "state IN ('open', 'held')")
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
    Column("reason", Text),
    Column("detail", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("first_failed_at", Instant),
    Column("not_before", Instant),
    Column("snapshot", Text),
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
        postgresql_where=text("key IS NOT NULL"),
    ),
)
OPEN_NOTICE = _open("ix_notice_open", notice, ("id",), "state IN ('open', 'held')")
HELD_NOTICE = _open("ix_notice_held", notice, ("reason",), "state = 'held'")
_open("ix_notice_parked", notice, ("id",), "state = 'parked'")
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
ON_TARGET = _open("ix_effect_target", effect, ("target", "id"), "state IN ('ready', 'in flight', 'in doubt')")
UNCERTAIN_EFFECT = _open("ix_effect_create", effect, ("connection", "creates"), "state IN ('in flight', 'in doubt')")
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
    Column("kind", Text, nullable=False),  # double | drift | missed | withheld
    Column("subject_kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("about", Text, nullable=False),  # what tells two findings of one subject apart
    Column("detail", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("kind", "subject_kind", "subject", "about"),
)
cursor = Table(
    "cursor",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Text),
    Column("full_since", Instant),
    Column("swept_at", Instant),
    Column("found", BigInteger, nullable=False, server_default="0"),
    Column("missed", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("connection", "kind"),
)
breaker = Table(
    "breaker",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("state", Json, nullable=False),
    Column("at", Instant),
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
