from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lifecyclehub.testing import ContractTests, VendorSpec
from lifecyclehub_xero import Xero

ENVELOPE = "The file's own examples have it, its schemas do not."


class TestXero(ContractTests):
    connector = Xero()
    fixtures = Path(__file__).parent / "fixtures"
    spec = VendorSpec("xero/xero_accounting.yaml")
    spec_exceptions: ClassVar = {
        "the reply at $.Id:": ENVELOPE,
        "the reply at $.Status:": ENVELOPE,
        "the reply at $.ProviderName:": ENVELOPE,
        "the reply at $.DateTimeUTC:": ENVELOPE,
        "DateString: the vendor does not know it": ENVELOPE,
        "$.Elements[0].Name": ENVELOPE,
        "$.Elements[0].LineItems": "Refused lines say why inside the line, as the file's examples show for addresses and terms.",
        "LineItems[0].ValidationErrors: the vendor does not know it": ENVELOPE,
    }
