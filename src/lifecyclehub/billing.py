"""What a draft invoice takes up: due charges on no invoice yet, less what was invoiced already. Exact whole numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.model import Money

VOID: Final = "void"
DEPOSIT: Final = "deposit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One billable amount of an engagement, or of one of its projects. `due`: it may be billed now."""

    id: str
    engagement: str
    project: str | None = None
    source_kind: str = "scope"
    description: str = ""
    amount: Money
    due: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line of an invoice by anyone; `charge` None when a person wrote it, or when it takes something off."""

    invoice: str
    amount: Money
    charge: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice or credit note of an engagement, by anyone. `total` stands for it where its lines are not known."""

    id: str
    engagement: str
    project: str | None = None
    status: str
    kind: Literal["invoice", "credit"] = "invoice"
    number: str = ""
    total: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a draft. `charge` None and a negative amount for what is taken off."""

    description: str
    amount: Money
    charge: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Give it as `charges` in a handoff's context and as the input of a draft invoice."""
        return {"description": self.description, "amount": self.amount.as_input(), "charge": self.charge}


@dataclass(frozen=True, slots=True)
class Draft:
    """What to draft. Without lines there is nothing to draft, and `reason` says why."""

    lines: tuple[Line, ...]
    reason: str = ""

    @property
    def total(self) -> int:
        """The sum of all lines in minor units."""
        return sum(line.amount.minor for line in self.lines)

    def as_rows(self) -> list[dict[str, Any]]:
        """Give the lines as `charges` in a handoff's context."""
        return [line.as_row() for line in self.lines]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is billed: a whole engagement, or one project of it with what belongs to no project."""

    engagement: str
    project: str | None = None

    def takes(self, charge: Charge) -> bool:
        """Tell whether a charge is billed with this subject."""
        return charge.engagement == self.engagement and (self.project is None or charge.project in (None, self.project))


def due_charges(
    charges: Iterable[Charge], invoice_lines: Iterable[InvoiceLine], invoices: Iterable[Invoice], subject: Subject
) -> Draft:
    """Give the lines of the subject's next draft.

    A charge on any line of an invoice that is not void is never taken again. Deposits that were invoiced, and what
    anybody invoiced without naming a charge, are taken off once, never below zero; earlier deductions and credit notes
    count against them. Nothing left is an answer. Raises ConfigurationError when currencies are mixed.
    """
    own = [charge for charge in charges if charge.engagement == subject.engagement]
    live = {invoice.id: invoice for invoice in invoices if invoice.engagement == subject.engagement and invoice.status != VOID}
    lines = _live_lines(invoice_lines, live)
    billed = {line.charge for line, _ in lines if line.charge is not None}
    wanted = [charge for charge in own if subject.takes(charge) and charge.due and charge.id not in billed]
    if not wanted:
        open_later = sum(1 for charge in own if subject.takes(charge) and charge.id not in billed)
        return Draft((), f"{open_later} charges are not due yet." if open_later else "Every charge is on an invoice already.")
    currency = _one_currency(wanted, lines)
    made = [Line(description=charge.description, amount=charge.amount, charge=charge.id) for charge in wanted]
    work = sum(charge.amount.minor for charge in wanted if charge.source_kind != DEPOSIT)  # a deposit is not paid by a deposit
    off = min(max(work, 0), _already_invoiced(own, lines, subject))
    if off:
        said = ", ".join(dict.fromkeys(invoice.number for line, invoice in lines if invoice.number and _advance(line, own)))
        made.append(Line(description=f"Less already invoiced{f' ({said})' if said else ''}", amount=Money(-off, currency)))
    draft = Draft(tuple(made))
    return draft if draft.total > 0 else Draft((), "Everything due was invoiced already.")


def _live_lines(lines: Iterable[InvoiceLine], live: dict[str, Invoice]) -> list[tuple[InvoiceLine, Invoice]]:
    found = [(line, live[line.invoice]) for line in lines if line.invoice in live]
    known = {invoice.id for _, invoice in found}
    found += [
        (InvoiceLine(invoice=invoice.id, amount=invoice.total), invoice)
        for invoice in live.values()
        if invoice.id not in known and invoice.total is not None
    ]
    return found


def _one_currency(wanted: Sequence[Charge], lines: Sequence[tuple[InvoiceLine, Invoice]]) -> str:
    currencies = {charge.amount.currency for charge in wanted} | {line.amount.currency for line, _ in lines}
    if len(currencies) > 1:
        raise ConfigurationError(
            f"charges and invoices are in {' and '.join(sorted(currencies))}.",
            where=f"engagement {wanted[0].engagement}",
            mend="Bring its charges and invoices to one currency; amounts are never converted by guess.",
        )
    return currencies.pop()


def _advance(line: InvoiceLine, charges: Sequence[Charge]) -> bool:
    """Tell whether a line was invoiced ahead of the work: a deposit, or what names no charge."""
    return line.charge is None or any(charge.id == line.charge and charge.source_kind == DEPOSIT for charge in charges)


def _already_invoiced(charges: Sequence[Charge], lines: Sequence[tuple[InvoiceLine, Invoice]], subject: Subject) -> int:
    """Sum what may be taken off the subject's draft: its own, and what belongs to no project in particular.

    What one project's invoice took off beyond its own advance came from the common one, and is gone from there.
    """
    projects = {charge.id: charge.project for charge in charges}
    pools: defaultdict[str | None, int] = defaultdict(int)
    for line, invoice in lines:
        if _advance(line, charges):
            of = projects.get(line.charge, invoice.project) if line.charge else invoice.project
            pools[of] += line.amount.minor * (-1 if invoice.kind == "credit" else 1)
    if subject.project is None:
        return max(0, sum(pools.values()))
    common = pools[None] + sum(min(0, amount) for of, amount in pools.items() if of is not None)
    return max(0, pools[subject.project]) + max(0, common)


def due_on(issued: date, terms_days: int | None) -> date | None:
    """Give the day an invoice is due: so many days after it is issued; None without terms."""
    if terms_days is None:
        return None
    if terms_days < 0:
        raise ValueError(f"terms of {terms_days} days lie before the invoice")
    return issued + timedelta(days=terms_days)


def split(amount: Money, weights: Sequence[int]) -> tuple[Money, ...]:
    """Split money by whole weights without losing a unit: what is left over goes to the largest remainders, first ones first.

    Raises ValueError without weights, for a negative one, or when all are zero.
    """
    whole = sum(weights)
    if not weights or min(weights) < 0 or whole == 0:
        raise ValueError(f"{list(weights)} are no weights to split by")
    sign = -1 if amount.minor < 0 else 1
    shares = [divmod(abs(amount.minor) * weight, whole) for weight in weights]
    left = abs(amount.minor) - sum(share for share, _ in shares)
    order = sorted(range(len(weights)), key=lambda at: (-shares[at][1], at))
    extra = set(order[:left])
    return tuple(Money(sign * (share + (at in extra)), amount.currency) for at, (share, _) in enumerate(shares))
