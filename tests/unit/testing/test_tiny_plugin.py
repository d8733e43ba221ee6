"""A connector that keeps the contract passes the kit."""

from __future__ import annotations

import sys
from pathlib import Path

from lifecyclehub.testing import ContractTests

ROOT = Path(__file__).parent / "tiny_plugin"
sys.path.append(str(ROOT))

from lifecyclehub_tiny import Tiny  # noqa: E402 (found once its folder is on the path)


class TestTiny(ContractTests):
    connector = Tiny()
    fixtures = ROOT / "tests" / "fixtures"
