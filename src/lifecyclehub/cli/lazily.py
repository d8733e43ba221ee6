"""Commands that are imported when they are typed: each loads what it needs, and the list of commands loads none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand
from typer.main import get_group


class Later(NamedTuple):
    """A command: `module:function` in this package, and what the list of commands says of it."""

    where: str
    says: str


def add_later(app: typer.Typer, later: Mapping[str, Later]) -> None:
    """Add commands by name. What the list says must be the beginning of what each says itself: a test compares them."""
    for name, one in later.items():
        app.command(name, cls=_class_for(name, one.where), help=one.says)(_stands_for)


def loaded(one: Any) -> Any:
    """Give the command itself for one that was added to be imported later, and any other as it is."""
    return one.load() if hasattr(one, "load") else one


def _stands_for() -> None:
    """Stand for a command that is not imported yet; whoever types it gets the other one."""


def _class_for(name: str, where: str) -> type[TyperCommand]:
    class Standing(TyperCommand):
        """Stands in the list of commands, and makes way when its name was typed."""

        def load(self) -> Any:
            return _load(name, where)

        def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
            return self.load().make_context(info_name, args, parent, **extra)

    return Standing


def _load(name: str, where: str) -> Any:
    module, _, attribute = where.partition(":")
    found = getattr(import_module(f"lifecyclehub.cli.{module}"), attribute)
    alone = typer.Typer(rich_markup_mode=None)
    alone.command(name)(found)
    return get_group(alone).commands[name]
