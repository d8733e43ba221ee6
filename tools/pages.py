# ruff: noqa: INP001, T201 (a script beside the packages, which says what it did)
"""Write the reference pages that are made from code: the commands and the fields. Say which changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from lifecyclehub.cli.app import app
from lifecyclehub.cli.lazily import loaded
from lifecyclehub.model import THINGS

ADMIN = Path(__file__).resolve().parents[1] / "docs" / "admin"
MEANINGS = {
    "client.standing": "worked out by `lifecycle.toml`; connectors may show it",
    "client.terms": "days until an invoice is due",
    "deal.billing": "how it is billed",
    "deal.engagement_ref": "the engagement that a change joins",
    "deal.purpose": "whether it opens a new engagement, joins one, or follows one",
    "deal.scope": "what is to be done",
    "deal.won_at": "when it was won, by the tool's clock",
    "project.closed_at": "when it was closed, by the tool's clock",
    "ticket.project_ref": "the project's address or id in the project tool",
}
TYPES = {
    "text": "text",
    "email": "an e-mail address",
    "choice": "one of the words listed",
    "instant": "a moment in UTC",
    "date": "a day",
    "amount": "money in the currency of the field beside it; in handoffs an object with `minor`, `currency`, `decimal`",
    "currency": "an ISO 4217 code",
    "number": "a number",
    "flag": "true or false",
}
FIELDS_BEGIN = """# Reference: fields

The same path names a field in mappings, handoffs, `explain` and the API. A field of your own is called
`<thing>.custom.<name>` and holds text; handoffs see it as `deal.custom.<name>`. An *identity key* tells clients and people
apart for certain.

| type | holds |
|---|---|"""
FIELDS_END = """
An engagement has `id`, `url`, `kind`, `billing`, `stage` and `stage_since`; its stage is worked out by
[`lifecycle.toml`](reference-handoffs.md#lifecycletoml), never mapped."""
COMMANDS_BEGIN = """# Reference: commands

`--home DIR` names the installation and may stand anywhere; else `LIFECYCLEHUB_HOME`, else `~/.lifecyclehub`. `--json`
prints JSON for scripts: a list in pages is `{"items": […], "next": …}`, any other list `[…]`, also where there is nothing,
one thing an object; moments are UTC in ISO 8601, amounts whole minor units. Members may come, none goes or changes its
meaning without a word in the changelog. Secrets are never arguments: they are asked for, or read from standard input, one
on each line.
[Exit codes](reference-settings.md#exit-codes) tell scripts how it went."""


def fields() -> Iterator[str]:
    """Give the lines of the page of canonical fields."""
    yield FIELDS_BEGIN
    used = {one.type for many in THINGS.values() for one in many.values()}
    yield from (f"| {name} | {meaning} |" for name, meaning in TYPES.items() if name in used)
    for thing, found in THINGS.items():
        yield f"\n## {thing}\n\n| field | type | |\n|---|---|---|"
        for name, one in found.items():
            path = f"{thing}.{name}"
            said = (", ".join(one.choices), "identity key" if one.identity else "", MEANINGS.get(path, ""))
            yield f"| `{path}` | {one.type} | {'; '.join(part for part in said if part)} |"
    yield FIELDS_END


def commands() -> Iterator[str]:
    """Give the lines of the page of commands, as `--help` has them."""
    yield COMMANDS_BEGIN
    for name, one in _visible(get_command(app)):
        inner = list(_visible(one))
        yield f"\n## {name}\n\n{_help(one)}"
        if not inner or getattr(one, "invoke_without_command", False):
            yield from _parameters(f"lifecyclehub {name}", one)
        for inner_name, inner_one in inner:
            yield f"\n### {name} {inner_name}\n\n{_help(inner_one)}"
            yield from _parameters(f"lifecyclehub {name} {inner_name}", inner_one)


def _visible(group: Any) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(group, "commands", {}).items():
        if not one.hidden:
            yield name, loaded(one)


def _help(one: Any) -> str:
    return " ".join((getattr(one, "help", "") or "").split())


def _parameters(typed: str, one: Any) -> Iterator[str]:
    shown = [two for two in one.params if not getattr(two, "hidden", False)]
    arguments = [two for two in shown if two.param_type_name == "argument"]
    options = [two for two in shown if two.param_type_name == "option" and two.name not in ("as_json", "help")]
    words = [_argument(two) for two in arguments] + (["[options]"] if options else [])
    as_json = " `--json`" if any(two.name == "as_json" for two in shown) else ""
    yield f"\n`{' '.join([typed, *words])}`{as_json}"
    rows = [(_argument(two), two) for two in arguments] + [(_option(two), two) for two in options]
    if rows:
        yield "\n| | |\n|---|---|"
        yield from (f"| `{name}` | {_help(two)} |" for name, two in rows)


def _argument(one: Any) -> str:
    name = one.name.upper()
    name = f"{name}..." if one.nargs == -1 else name
    return name if one.required else f"[{name}]"


def _option(one: Any) -> str:
    names = [*one.opts, *one.secondary_opts]
    value = "" if one.is_flag else " …"
    return f"{' / '.join(names)}{value}"


PAGES = {ADMIN / "reference-fields.md": fields, ADMIN / "reference-commands.md": commands}


def main() -> int:
    """Write what changed."""
    for page, lines in PAGES.items():
        text = "\n".join(lines()) + "\n"
        if not page.exists() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")
            print(f"wrote {page.relative_to(ADMIN.parents[1])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
