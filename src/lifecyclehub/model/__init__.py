"""The canonical client and engagement model."""

from lifecyclehub.model.money import Money, exponent
from lifecyclehub.model.things import FACT_TIMES, STAGES, STANDINGS, THINGS, Field, field_at

__all__ = ["FACT_TIMES", "STAGES", "STANDINGS", "THINGS", "Field", "Money", "exponent", "field_at"]
