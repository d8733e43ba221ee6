"""What a state means and what to do about it, in plain sentences. Tables: a reason that is not here explains itself."""

from __future__ import annotations

from typing import Final

_ANSWER: Final = "Then unpark it: `anew` tries again, `is` names the record that is the one, `cancel` lets it be."

_EFFECT_STATES: Final = {
    "planned": "It is looked at in a moment.",
    "held": "It waits, and goes on by itself as soon as the reason is gone.",
    "ready": "It is sent as soon as there is room.",
    "in flight": "It was sent, and its answer is awaited.",
    "in doubt": "Nobody knows whether the tool did it. It is looked up there before anything is sent again.",
    "done": "Nothing to do: a done effect is final.",
    "cancelled": "Nothing to do: its condition stopped holding before it was sent. It is planned again when it holds again.",
    "parked": f"A person must look at it. {_ANSWER}",
}
_EFFECTS: Final = {
    ("held", "gate"): "Its gate is not open yet.",
    ("held", "approval"): "Approve or refuse it.",
    ("held", "needs"): "It waits for the effects that it needs; they are listed with it.",
    ("held", "connection"): "The connection is missing or paused: add it, resume it, or renew its credentials.",
    (
        "held",
        "stopped",
    ): "Its handoff is switched off or not in handoffs.toml. Switch it on again, or park it and cancel it then.",
    ("held", "brake"): "An earlier one of its kind was stopped by the brake. It goes on when a person has answered that one.",
    ("parked", "brake"): (
        "The same field was written again and again: an automation in the tool, another integration or a rule of yours "
        f"answers each write. Find it and stop one of the two. {_ANSWER}"
    ),
    (
        "held",
        "unanswered",
    ): "Another one may have entered the same client already. It goes on by itself once it is known what came of that one.",
    ("held", "undecided"): "Its condition cannot be answered: fill in what is named, in the tool, or change the condition.",
    ("ready", "retry"): "The tool could not do it yet and did nothing. It is tried again by itself.",
    ("ready", "unanswered"): "Something sent to this record before was not answered. It goes on by itself once that is over.",
    ("ready", "spared"): "The tool failed too often just now, or its rate is used up. It goes on by itself in a while.",
    ("parked", "refused"): f"The tool refused it and did nothing. Correct what it complains about. {_ANSWER}",
    ("parked", "gave up"): f"It was tried for three days. Find out why the tool does not answer. {_ANSWER}",
    ("parked", "several found"): "Several records could be the one. Unpark it with `is` and the right record's id.",
    ("parked", "mapping"): f"A value is missing or cannot be mapped. Mend it where the text says. {_ANSWER}",
    ("parked", "unsupported"): f"The connected tool cannot do this. Change the handoff, or install what it needs. {_ANSWER}",
    ("parked", "in doubt"): f"Nobody could find out whether it was done. Look in the tool. {_ANSWER}",
}
_NOTICE_STATES: Final = {
    "open": "It is worked on as soon as there is room.",
    "held": "It waits, and goes on by itself as soon as the reason is gone.",
    "processed": "Nothing to do: the record was looked at and taken over.",
    "ignored": "Nothing to do.",
    "parked": "A person must look at it. When the reason is mended, replay it: the record is fetched afresh.",
}
_NOTICES: Final = {
    ("open", "retry"): "The tool did not answer. It is asked again by itself.",
    ("open", "spared"): "The tool failed too often just now, or its rate is used up. It goes on by itself in a while.",
    ("open", "connector hangs"): "The connector hangs. Start the hub again.",
    ("held", "connection"): "Its connection is paused. Resume it, or renew its credentials, and it goes on by itself.",
    ("processed", "seen since"): "Nothing to do: it waited for a person, and its record was taken in later.",
    ("processed", "found"): "Nothing to do: a sweep found it. Whether a webhook announces it too is seen in a few minutes.",
    ("processed", "missed"): "Nothing to do for this one: a sweep found it. No webhook announced it; see whether they come.",
    ("ignored", "unknown account"): "No connection serves this account. Connect it, then replay what came in.",
    ("ignored", "unknown kind"): "The connector does not know records of this kind.",
    ("ignored", "not mapped"): "Records of this kind fill nothing: give them a mapping, then replay.",
    ("ignored", "older"): "A newer state of this record was known already.",
    ("ignored", "unlinked"): "It carries no marker of ours and matches nothing. Link it by hand if it is somebody's.",
    ("ignored", "same as another"): "Another notice said the same.",
    ("ignored", "deleted"): "The record is gone.",
    ("ignored", "erased"): "It is of a person who was erased. Nothing to do.",
    ("parked", "mapping"): "A value is missing or cannot be mapped. Mend the mapping or the record, then replay it.",
    ("parked", "forbidden"): "The tool refuses us this record. Grant access to it there, then replay it.",
    ("parked", "unsupported"): "The tool, or this account's plan, does not show such records. If it does one day, replay it.",
    ("parked", "double"): "It carries a marker of ours, but another one was made for it. Keep one of them.",
    ("parked", "several projects"): "Put the address of the right project into the ticket's project field.",
    ("parked", "gave up"): "The tool did not answer for three days. When it does, replay it.",
    (
        "parked",
        "crashed",
    ): "The process ended again and again while this was worked on. Upgrade the connector, then replay it.",
}
_DELIVERY_STATES: Final = {
    "open": "It is split into notices in a moment.",
    "held": "It waits, and goes on by itself as soon as the reason is gone.",
    "split": "Nothing to do: its notices tell the rest.",
    "parked": "A person must look at it; its reason says why. When that is mended, replay it: it is read again.",
}


def effect_advice(state: str, reason: str | None) -> str:
    """Say what an effect's state means and what to do."""
    return _EFFECTS.get((state, reason or ""), _EFFECT_STATES.get(state, ""))


def notice_advice(state: str, reason: str | None) -> str:
    """Say what a notice's state means and what to do."""
    if state == "held" and (reason or "").startswith("waiting("):
        return "The record may come from an effect of ours that is not settled yet. It goes on when that is."
    return _NOTICES.get((state, reason or ""), _NOTICE_STATES.get(state, ""))


def delivery_advice(state: str) -> str:
    """Say what a delivery's state means and what to do."""
    return _DELIVERY_STATES.get(state, "")
