from pathlib import Path

from lifecyclehub.testing import ContractTests
from lifecyclehub_hubspot import HubSpot


class TestHubSpot(ContractTests):
    connector = HubSpot()
    fixtures = Path(__file__).parent / "fixtures"
