"""The contract kit: proves a connector with captures and without an account. See docs/vendors/contract-kit.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifecyclehub.testing.contract import ContractTests
    from lifecyclehub.testing.fake import NOW, FakeCall, Unanswered, reply
    from lifecyclehub.testing.fixtures import KIT_KEY
    from lifecyclehub.testing.openapi import SpecChecker
    from lifecyclehub.testing.vendor_spec import VendorSpec

__all__ = ["KIT_KEY", "NOW", "ContractTests", "FakeCall", "SpecChecker", "Unanswered", "VendorSpec", "reply"]

_HOMES = {
    "ContractTests": "contract",
    "FakeCall": "fake",
    "KIT_KEY": "fixtures",
    "NOW": "fake",
    "SpecChecker": "openapi",
    "Unanswered": "fake",
    "VendorSpec": "vendor_spec",
    "reply": "fake",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, so that pytest starts quickly where the kit is installed and not used."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"lifecyclehub.testing has no {name}")
    return getattr(import_module(f"lifecyclehub.testing.{_HOMES[name]}"), name)
