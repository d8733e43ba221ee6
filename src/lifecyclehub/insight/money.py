"""The money of an engagement: what was sold, invoiced, paid, and is still to come. Whole minor units, per currency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lifecyclehub.model import Money
from lifecyclehub.store.things import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Money: whole minor units, an ISO 4217 currency, and the same for people."""

    minor: int
    currency: str
    text: str

    @classmethod
    def of(cls, minor: int, currency: str) -> Amount:
        """Make an amount."""
        return cls(minor=minor, currency=currency, text=str(Money(minor, currency)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyLine:
    """`sold`: agreed values of won deals. `invoiced`: what drafts and invoices say, credit notes taken off, void ones left out.

    `paid`: what was paid. `outstanding`: approved and not paid. `unbilled`: due charges on no invoice.
    """

    sold: tuple[Amount, ...]
    invoiced: tuple[Amount, ...]
    paid: tuple[Amount, ...]
    outstanding: tuple[Amount, ...]
    unbilled: tuple[Amount, ...]


def amounts(pairs: Iterable[tuple[str | None, int | None]]) -> tuple[Amount, ...]:
    """Add up by currency; what has no currency or no amount counts for nothing."""
    sums: dict[str, int] = {}
    for currency, minor in pairs:
        if currency is not None and minor is not None:
            sums[currency] = sums.get(currency, 0) + minor
    return tuple(Amount.of(minor, currency) for currency, minor in sorted(sums.items()))


def paid_of(invoice: Row) -> int:
    """Give what was paid of an invoice. One that is paid without saying how much was paid in full."""
    if invoice["paid_minor"] is not None:
        return int(invoice["paid_minor"])
    return int(invoice["total_minor"] or 0) if invoice["status"] == "paid" else 0


def money_line(deals: Sequence[Row], charges: Sequence[Row], invoices: Sequence[Row], lines: Sequence[Row]) -> MoneyLine:
    """Add up an engagement's money from its rows."""
    live = [one for one in invoices if one["status"] != "void"]
    billed = {line["charge"] for line in lines if line["live"]}
    signed = [(one, -1 if one["kind"] == "credit" else 1) for one in live]
    told = [(one, sign) for one, sign in signed if one["status"] in ("approved", "paid")]
    unbilled = [one for one in charges if one["due_at"] is not None and one["id"] not in billed]
    return MoneyLine(
        sold=amounts((one["value_currency"], one["value_minor"]) for one in deals if one["status"] == "won"),
        invoiced=amounts((one["total_currency"], sign * (one["total_minor"] or 0)) for one, sign in signed),
        paid=amounts((one["total_currency"], sign * paid_of(one)) for one, sign in signed),
        outstanding=amounts((one["total_currency"], sign * ((one["total_minor"] or 0) - paid_of(one))) for one, sign in told),
        unbilled=amounts((one["amount_currency"], one["amount_minor"]) for one in unbilled),
    )
