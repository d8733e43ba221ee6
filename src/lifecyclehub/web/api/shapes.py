"""What the API takes: nothing unknown, so that a typo is an error and not a silent no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from lifecyclehub.insight.findings import FindingKind, FindingState
from lifecyclehub.insight.lists import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Asked,
    DeliveryState,
    EffectState,
    Listed,
    NoticeState,
    Stage,
    Standing,
)

T = TypeVar("T")
Id = Annotated[str, Field(min_length=1, max_length=200)]
Named = Annotated[str | None, Field(max_length=200, description="A connection's name or id.")]
Who = Annotated[str, Field(min_length=1, max_length=200, description="Who decided this; it is kept.", examples=["Ada"])]
_MANY = 500


class Page(BaseModel, Generic[T]):
    """One page of a list. `next` is the cursor of the page after it, null on the last one."""

    items: Sequence[T]
    next: str | None = Field(examples=["WyJlZmZlY3QiLCAiZWZmXzFranAiXQ"])

    @classmethod
    def of(cls, listed: Listed[T]) -> Page[T]:
        """Give what was listed."""
        return cls(items=listed.items, next=listed.next)


class Input(BaseModel):
    """Something that is sent to the API."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class Listing(Input):
    """How much of a list, and from where."""

    cursor: str | None = Field(None, max_length=2000, description="`next` of the page before.")
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)

    @property
    def page(self) -> Asked:
        """The page that is asked for."""
        return Asked(self.cursor, self.limit)


class ClientListing(Listing):
    """Which clients."""

    standing: Standing | None = None


class EngagementListing(Listing):
    """Which engagements."""

    client: Id | None = None
    stage: Stage | None = None


class DeliveryListing(Listing):
    """Which deliveries."""

    state: DeliveryState | None = None
    way: Literal["webhook", "sweep", "import", "replay"] | None = None
    connection: Named = None


class NoticeListing(Listing):
    """Which notices."""

    state: NoticeState | None = None
    connection: Named = None
    kind: str | None = Field(None, max_length=200, examples=["hubspot.deal"])
    record_id: str | None = Field(None, max_length=500)
    delivery: Id | None = None


class EffectListing(Listing):
    """Which effects."""

    state: EffectState | None = None
    connection: Named = None
    handoff: str | None = Field(None, max_length=200, examples=["won-deal-starts-delivery"])
    action: str | None = Field(None, max_length=200, examples=["create_project"])
    engagement: Id | None = None
    subject: Id | None = None


class LinkListing(Listing):
    """Which links."""

    connection: Named = None
    kind: str | None = Field(None, max_length=200, examples=["asana.project"])
    thing: Id | None = None
    linked: bool | None = Field(None, description="false: only records that belong to nobody.")


class FindingListing(Listing):
    """Which findings. What handoffs left alone (withheld) is listed only where that kind is asked for."""

    state: FindingState | None = None
    kind: FindingKind | None = None


class SettleInput(Input):
    """A person's word that a finding was looked at."""

    who: Who
    why: str = Field(min_length=1, max_length=500, description="Why nothing more is to be done.", examples=["both are wanted"])


class ReplayInput(Input):
    """What to look at again: some notices, some deliveries, or all that came for a connection since a time."""

    notices: tuple[Id, ...] = Field((), max_length=_MANY)
    deliveries: tuple[Id, ...] = Field((), max_length=_MANY)
    connection: Id | None = Field(None, description="A connection's name or id.", examples=["hubspot"])
    since: AwareDatetime | None = Field(None, examples=["2026-03-01T00:00:00Z"])

    @model_validator(mode="after")
    def _one_way(self) -> ReplayInput:
        given = [bool(self.notices), bool(self.deliveries), self.connection is not None]
        if sum(given) != 1:
            raise ValueError("give exactly one of notices, deliveries and connection")
        if (self.since is None) != (self.connection is None):
            raise ValueError("connection and since belong together")
        return self


class UnparkInput(Input):
    """A person's word on a parked effect."""

    verdict: Literal["anew", "is", "cancel"] = Field(
        description="anew: render it again and send it. is: record_id is the record in the tool. cancel: let it be for good."
    )
    who: Who
    record_id: str | None = Field(None, min_length=1, max_length=200)
    url: str | None = Field(None, pattern=r"^https?://\S+$", max_length=2000, description="What opens that record.")

    @model_validator(mode="after")
    def _fits(self) -> UnparkInput:
        if (self.verdict == "is") != (self.record_id is not None):
            raise ValueError("record_id goes with the verdict is, and only with it")
        return self


class ParkInput(Input):
    """A person's wish to put an effect aside."""

    who: Who
    why: str = Field("", max_length=500, examples=["the client asked us to wait"])


class EffectNow(BaseModel):
    """An effect's new state."""

    effect: str
    state: str = Field(examples=["planned"])
