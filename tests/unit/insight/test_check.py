"""A refused request is wrong, unless the sender was heard in the same minute: vendors test with bad signatures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lifecyclehub.insight.check import check
from lifecyclehub.insight.status import EndpointStatus, RefusedRequest, Status

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def status(*, heard: datetime | None, refused: datetime) -> Status:
    refusal = RefusedRequest(
        endpoint="e", at=refused, reason="bad-signature", detail="d", size=1, url="https://hub.example.com", header_names=()
    )
    endpoint = EndpointStatus(
        id="e", connector="xero", door="app", connection=None, state="listening", last_heard=heard, refusals=(refusal,)
    )
    return Status(
        at=NOW,
        installation="ins",
        outbound_allowed=True,
        connections=(),
        endpoints=(endpoint,),
        deliveries=(),
        notices=(),
        effects=(),
        parked=(),
        handoffs=(),
        findings=(),
    )


@pytest.mark.parametrize(
    ("heard_before_s", "severity"),
    [(None, "wrong"), (3600, "wrong"), (61, "wrong"), (30, "look"), (0, "look"), (-600, "look")],
)
def test_a_refusal_is_wrong_unless_the_sender_was_heard_about_then(heard_before_s: int | None, severity: str) -> None:
    refused = NOW - timedelta(hours=1)
    heard = None if heard_before_s is None else refused - timedelta(seconds=heard_before_s)
    (problem,) = check(status(heard=heard, refused=refused))
    assert problem.severity == severity
