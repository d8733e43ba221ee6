from __future__ import annotations

from pathlib import Path

from lifecyclehub.testing import ContractTests
from lifecyclehub_zendesk import Zendesk


class TestZendesk(ContractTests):
    connector = Zendesk()
    fixtures = Path(__file__).parent / "fixtures"
