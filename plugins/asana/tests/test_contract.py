"""The connector keeps the contract, and Asana's own description of its API."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lifecyclehub.testing import ContractTests, VendorSpec
from lifecyclehub_asana import Asana

NESTED = "its list of opt_fields names no fields of people inside records; its page on OAuth scopes asks for assignee.email"
COMPACT = "its file describes rows of lists without opt_fields only; they bring the fields that were asked for"


class TestAsana(ContractTests):
    connector = Asana()
    fixtures = Path(__file__).parent / "fixtures"
    spec = VendorSpec("asana/asana_oas.yaml")
    spec_exceptions: ClassVar = {
        "opt_fields is 'owner.name'": NESTED,
        "opt_fields is 'owner.email'": NESTED,
        "opt_fields is 'assignee.email'": NESTED,
        "$.data.owner.email: the vendor does not know it": NESTED,
        "$.data.assignee.email: the vendor does not know it": NESTED,
        "$.data[0].notes: the vendor does not know it": COMPACT,
        "$.data[1].notes: the vendor does not know it": COMPACT,
        "$.data[0].permalink_url: the vendor does not know it": COMPACT,
        "$.data[1].permalink_url: the vendor does not know it": COMPACT,
    }
