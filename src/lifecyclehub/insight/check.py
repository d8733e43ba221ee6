"""What is wrong with an installation, and how to mend it: a judgement of its status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from lifecyclehub.insight.findings import BRAKE, INVITE, UNASSIGNED, Finding
from lifecyclehub.insight.status import ConnectionStatus, EndpointStatus, HandoffStatus, Status
from lifecyclehub.model.times import told

_RECENT: Final = timedelta(days=1)
_HEARD_TO: Final = timedelta(minutes=1)  # how exactly it is noted when an endpoint was heard
BY_A_PERSON: Final = "by a person"
_EXPIRES_SOON: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to look at. `wrong`: something does not work; `look`: it works, and a person should know."""

    severity: Literal["wrong", "look"]
    where: str
    what: str
    mend: str


def check(status: Status) -> tuple[Problem, ...]:
    """Give what is wrong first, then what is worth a look. Nothing for a healthy installation."""
    found = [*_installation(status), *_connectors(status)]
    for connection in status.connections:
        found += _connection(status, connection)
    for endpoint in status.endpoints:
        found += _endpoint(status, endpoint)
    for handoff in status.handoffs:
        found += _handoff(handoff)
    found += [*_work(status), *_findings(status)]
    return tuple(sorted(found, key=lambda one: one.severity != "wrong"))


def _installation(status: Status) -> Iterator[Problem]:
    if not status.outbound_allowed:
        yield Problem(
            severity="wrong",
            where="installation",
            what="nothing may be sent to the tools: this home is a copy that nobody confirmed, or sending was stopped.",
            mend="If no other hub works for this business any more, or this one shall work beside it: `lifecyclehub confirm`.",
        )
    if status.looking_back:
        yield Problem(
            severity="wrong",
            where="installation",
            what="it was restored from a backup: nothing is written before each tool was looked at since.",
            mend="That goes on by itself while the hub runs. A tool that is down keeps it waiting: pause its connection, "
            "or end the wait with `lifecyclehub confirm --without-looking`.",
        )


def _connectors(status: Status) -> Iterator[Problem]:
    for one in status.connectors:
        yield Problem(severity="wrong", where=f"connector {one.connector}", what=one.what, mend=one.mend)


def _connection(status: Status, one: ConnectionStatus) -> Iterator[Problem]:
    where = f"connection {one.name}"
    if one.state != "active":
        mend = f"Give new credentials with `lifecyclehub connections reauthorize {one.name}`."
        if one.reason == BY_A_PERSON:
            mend = f"Go on with `lifecyclehub connections resume {one.name}`."
        yield Problem(severity="wrong", where=where, what=f"it is paused: {one.reason or 'no reason is known'}.", mend=mend)
    if one.spared_until is not None:
        yield Problem(
            severity="wrong",
            where=where,
            what=f"the tool fails too often ({one.spared_because}): calls wait, and one tries again {told(one.spared_until)}.",
            mend="Nothing is lost and no attempt is used. Look whether the tool is down; it goes on by itself.",
        )
    if not one.listens and not one.polls:
        mend = "Let it poll, or give it a hook."
        yield Problem(severity="wrong", where=where, what="it neither listens nor polls: no change is noticed.", mend=mend)
    if one.listens and one.state == "active" and one.last_heard is None:
        yield Problem(
            severity="look",
            where=where,
            what="it listens, and nothing was ever heard from it.",
            mend="Change a record in the tool and look at the refused requests; check the hook's address there.",
        )
    yield from _sweeps(where, one)
    yield from _hooks(where, one, status.at)


def _sweeps(where: str, one: ConnectionStatus) -> Iterator[Problem]:
    for sweep in one.sweeps:
        if sweep.reason:
            until = f" It is tried again {told(sweep.not_before)}." if sweep.not_before else ""
            what = f"looking for {sweep.kind} ({sweep.way}) does not get on: {sweep.reason.rstrip('.')}.{until}"
            mend = "It goes on by itself; if not, `lifecyclehub connections test` says what the tool says."
            yield Problem(severity="look", where=where, what=what, mend=mend)


def _hooks(where: str, one: ConnectionStatus, now: datetime) -> Iterator[Problem]:
    mend = f"Subscribe anew: `lifecyclehub connections subscribe {one.name}`."
    for hook in one.subscriptions:
        if hook.state == "ending":
            continue  # its successor stands
        if hook.state != "active":
            what = f"its hook {hook.id} is {hook.state}: {hook.reason or 'no reason is known'}."
            yield Problem(severity="wrong", where=where, what=what, mend=mend)
        elif hook.renewed and hook.reason and hook.made_at and now - hook.made_at < _RECENT:
            calm = "Nothing has to be done. If it happens again and again, look at the tool's own log of its hooks."
            yield Problem(severity="look", where=where, what=f"its hook {hook.id}: {hook.reason.rstrip('.')}.", mend=calm)
        elif hook.expires_at is not None and hook.expires_at - now < _EXPIRES_SOON:
            what = f"its hook {hook.id} ends {told(hook.expires_at)}."
            yield Problem(severity="look", where=where, what=what, mend=mend)


def _endpoint(status: Status, one: EndpointStatus) -> Iterator[Problem]:
    recent = [refusal for refusal in one.refusals if status.at - refusal.at < _RECENT]
    if not recent:
        return
    last = recent[0]
    healthy = one.last_heard is not None and one.last_heard + _HEARD_TO > last.at
    yield Problem(
        severity="look" if healthy else "wrong",
        where=f"endpoint {one.id} ({one.connector})",
        what=f"a request was refused {told(last.at)}: {last.reason}, {last.detail}",
        mend=_CALM if healthy else _MEND_REFUSAL.get(last.reason, "The sender must correct it; nothing of it was processed."),
    )


_CALM: Final = "Good ones came since, so nothing is to be done unless it goes on. Xero, for one, tests us with bad signatures."
_MEND_REFUSAL: Final = {
    "bad-signature": "Compare the address above with the one in the tool, letter by letter, and the secret.",
    "no-secret": "Enter the hook's signing secret for this endpoint.",
    "missing-signature": "Somebody who does not sign knows the address, or a proxy drops the header.",
    "stale": "Check this machine's clock, and whether a proxy holds requests back.",
    "not-registering": "Start the subscription from here: a handshake is answered only while it is being made.",
}


def _handoff(one: HandoffStatus) -> Iterator[Problem]:
    where = f"handoff {one.id}"
    if not one.in_file and one.state != "off":
        mend = "Put it back into handoffs.toml under the same id, or switch it off."
        yield Problem(severity="wrong", where=where, what=f"it is {one.state}, but not in handoffs.toml any more.", mend=mend)
    if one.state != "off" and one.missing_roles:
        mend = "Add a connection with that role; until then its effects are held."
        yield Problem(severity="wrong", where=where, what=f"no connection plays {' or '.join(one.missing_roles)}.", mend=mend)
    if one.state != "off" and one.withheld:
        said = ", ".join(f"{entry.count} {entry.code}" for entry in one.withheld)
        mend = f"`lifecyclehub explain` says why of each; `lifecyclehub handoffs set {one.id} on --from …` takes older facts up."
        yield Problem(severity="look", where=where, what=f"it left alone: {said}.", mend=mend)


def _work(status: Status) -> Iterator[Problem]:
    for what, kind in (("effects", "effect"), ("notices", "notice"), ("deliveries", "delivery")):
        count = status.count(what, "parked")
        if count:
            first = next(one for one in status.parked if one.what == kind)
            yield Problem(
                severity="wrong",
                where=what,
                what=f"{count} wait for a person, lately {first.id}: {first.reason or ''}. {first.detail or ''}".strip(),
                mend=f"`lifecyclehub explain {first.id}` says what to do.",
            )
    doubtful = status.count("effects", "in doubt")
    if doubtful:
        mend = "They are looked up by themselves; parked ones are a person's."
        yield Problem(severity="look", where="effects", what=f"{doubtful} are in doubt.", mend=mend)


def _findings(status: Status) -> Iterator[Problem]:
    for one in status.findings:
        yield Problem(
            severity="wrong" if one.kind in ("double", BRAKE) else "look",
            where=f"{one.subject_kind} {one.subject}",
            what=f"{one.kind}: {one.detail.rstrip('.')}.",
            mend=mend_of(one),
        )


def mend_of(one: Finding) -> str:
    """Say what a person can do about a finding."""
    settle = "" if one.kind == BRAKE else f" If it is as it should be: `lifecyclehub settle {one.id} --why …`."
    return _MEND_FINDING.get(one.kind, "Look at it in the tool.") + settle


_MEND_FINDING: Final = {
    "double": "Decide in the tool which one stays, and remove the other.",
    "missed": "Make a change in the tool and see whether it is heard; `lifecyclehub connections subscribe` makes the hook anew.",
    BRAKE: "Find out what else writes it and stop one of the two; then answer the parked effect: `lifecyclehub unpark`.",
    UNASSIGNED: INVITE,
    "drift": "Correct it in the tool, or give the field to the tool in the mapping.",
}
