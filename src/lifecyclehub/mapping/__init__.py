"""Mappings: what a vendor's record says in our words, and what our words are in a vendor's body. All pure."""

from lifecyclehub.mapping.conditions import Condition, Decision, Undecided, compile_condition
from lifecyclehub.mapping.converters import CONVERTERS, Converter, Minor
from lifecyclehub.mapping.entries import Entry, Lookup, Origin
from lifecyclehub.mapping.expressions import MAX_LENGTH, Expression, compile_expression
from lifecyclehub.mapping.files import AboutLike, MappingSet, Shown, content_version, load_mappings, read_folder
from lifecyclehub.mapping.inbound import Inbound, Mapped
from lifecyclehub.mapping.outbound import Outbound
from lifecyclehub.mapping.running import STEP_BUDGET

__all__ = [
    "CONVERTERS",
    "MAX_LENGTH",
    "STEP_BUDGET",
    "AboutLike",
    "Condition",
    "Converter",
    "Decision",
    "Entry",
    "Expression",
    "Inbound",
    "Lookup",
    "Mapped",
    "MappingSet",
    "Minor",
    "Origin",
    "Outbound",
    "Shown",
    "Undecided",
    "compile_condition",
    "compile_expression",
    "content_version",
    "load_mappings",
    "read_folder",
]
