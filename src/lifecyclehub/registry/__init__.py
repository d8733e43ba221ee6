"""Connectors: found by entry point, checked against the contract, and run where they cannot stop the hub."""

from lifecyclehub.registry.checks import problems_of
from lifecyclehub.registry.registry import Refusal, Registry, default_mappings
from lifecyclehub.registry.runner import PluginRunner, cut, cut_each

__all__ = ["PluginRunner", "Refusal", "Registry", "cut", "cut_each", "default_mappings", "problems_of"]
