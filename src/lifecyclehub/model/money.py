"""Money: whole minor units and an ISO 4217 currency, exact in both directions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

# Currencies whose minor unit is not a hundredth (ISO 4217, table A.1).
_EXPONENTS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    "CLF": 4,
    "UYW": 4,
}


def exponent(currency: str) -> int:
    """Give the number of decimals of a currency: 0 for JPY, 3 for BHD, else mostly 2."""
    return _EXPONENTS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount."""

    minor: int
    currency: str

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> Money:
        """Make money from a decimal amount. Raises ValueError when it is finer than the minor unit or not finite."""
        if not amount.is_finite():
            raise ValueError(f"{amount} is not an amount")
        scaled = amount.scaleb(exponent(currency))
        whole = scaled.to_integral_value(ROUND_HALF_EVEN)
        if whole != scaled:
            raise ValueError(f"{amount} {currency} is finer than the smallest unit of {currency}")
        if abs(whole) >= 2**63:
            raise ValueError(f"{amount} {currency} is out of range")
        return cls(int(whole), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in the currency's usual notation."""
        return Decimal(self.minor).scaleb(-exponent(self.currency))

    def as_input(self) -> dict[str, Any]:
        """Give the three members of a role's `MoneyInput`."""
        return {"minor": self.minor, "currency": self.currency, "decimal": self.decimal}

    def __str__(self) -> str:
        return f"{self.decimal:,} {self.currency}"
