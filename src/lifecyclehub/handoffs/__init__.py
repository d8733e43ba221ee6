"""Handoffs: which are due, which effects they plan, and under which names these exist once. All pure."""

from lifecyclehub.handoffs.context import VISIBLE, nested
from lifecyclehub.handoffs.handoff import Acting, Context, Due, Effect, Handoff, HandoffSet, NotDue, PlannedEffect
from lifecyclehub.handoffs.keys import effect_key, idempotency_key, marker
from lifecyclehub.handoffs.lifecycle import Derived, Lifecycle, read_lifecycle
from lifecyclehub.handoffs.reading import load_handoffs, read_table

__all__ = [
    "VISIBLE",
    "Acting",
    "Context",
    "Derived",
    "Due",
    "Effect",
    "Handoff",
    "HandoffSet",
    "Lifecycle",
    "NotDue",
    "PlannedEffect",
    "effect_key",
    "idempotency_key",
    "load_handoffs",
    "marker",
    "nested",
    "read_lifecycle",
    "read_table",
]
