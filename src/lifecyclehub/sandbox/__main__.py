"""Simulated tools to learn with: `python -m lifecyclehub.sandbox` starts all four and stays with them.

Then, in another terminal and the same folder:

    python -m lifecyclehub.sandbox hubspot                      what people can do there
    python -m lifecyclehub.sandbox hubspot win_deal deal=4711   do it
    python -m lifecyclehub.sandbox hubspot credentials          what its settings pages show, a line each, as asked for
    python -m lifecyclehub.sandbox hubspot signing_secret       the secret that it signs its webhooks with
    python -m lifecyclehub.sandbox hubspot settings             for `connections add`: where it is, and that it is quick
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import error, request

if TYPE_CHECKING:
    from lifecyclehub.sandbox.tool import Tool

DESCRIPTION, CREDENTIALS = "tools.json", "credentials.json"
_WORDS: dict[str, Any] = {"true": True, "false": False}


class Mistyped(Exception):
    """What was typed does not fit. The text says what does."""


# --- the tools --------------------------------------------------------------------------------------------------------


async def _serve(home: Path) -> None:
    from lifecyclehub.sandbox.asana import AsanaTool  # who only acts in a tool need not wait for the servers to load
    from lifecyclehub.sandbox.hubspot import HubSpotTool
    from lifecyclehub.sandbox.serve import describe
    from lifecyclehub.sandbox.xero import Xero
    from lifecyclehub.sandbox.zendesk import ZendeskTool

    tools: list[Tool] = [HubSpotTool(home), AsanaTool(home), ZendeskTool(home), Xero(home)]
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    for tool in tools:
        await tool.start()
    describe(home, tools)
    print("Four simulated tools are running until you press Ctrl-C:")
    for tool in tools:
        print(f"  {tool.name:<8} {tool.base_url()}")
    print(f"What happens in them is kept in {home}/.", flush=True)
    await over.wait()
    await asyncio.gather(*(tool.stop() for tool in tools))


# --- people in them ---------------------------------------------------------------------------------------------------


def _read(home: Path, file: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((home / file).read_text("utf-8"))
    except FileNotFoundError:
        raise Mistyped(f"no tools were started in {home}/. Start them: python -m lifecyclehub.sandbox") from None
    return found


def _tool(home: Path, name: str) -> dict[str, Any]:
    tools = _read(home, DESCRIPTION)
    if name not in tools:
        raise Mistyped(f"there is no tool {name!r}. There are: {', '.join(tools)}.")
    found: dict[str, Any] = tools[name]
    return found


def _credentials(home: Path, name: str) -> str:
    return "\n".join(_read(home, CREDENTIALS)[name]["credentials"].values())


def _signing_secret(home: Path, name: str) -> str:
    secret = _read(home, CREDENTIALS)[name]["signing_secret"]
    if secret is None:
        raise Mistyped(f"{name} agrees on a secret of its own with each webhook, so there is none to be entered.")
    return str(secret)


def _settings(home: Path, name: str) -> str:
    tool = _tool(home, name)
    return " ".join([f"--auth {tool['auth']}", *(f"--set {key}={value}" for key, value in tool["settings"].items())])


_SHOWN: dict[str, Callable[[Path, str], str]] = {
    "credentials": _credentials,
    "signing_secret": _signing_secret,
    "settings": _settings,
}


def _all_acts(tool: dict[str, Any]) -> str:
    return "\n".join(f"{name} {typed}".rstrip() + f"\n    {said}" for name, (typed, said) in tool["acts"].items())


def _do(tool: dict[str, Any], name: str, given: Sequence[str]) -> Any:
    if name not in tool["acts"]:
        raise Mistyped(f"nobody can {name} there. There are: {', '.join([*tool['acts'], *_SHOWN])}.")
    members = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not sign:
            raise Mistyped(f"{one!r} should be a name, =, and a value. It is typed: {name} {tool['acts'][name][0]}")
        members[key] = _WORDS.get(value, value)
    asked = request.Request(f"{tool['base_url']}/_sandbox/act/{name}", json.dumps(members).encode(), method="POST")  # noqa: S310 (ours)
    try:
        with request.build_opener(request.ProxyHandler({})).open(asked, timeout=20) as reply:
            return json.load(reply)
    except error.HTTPError as refused:
        said = refused.read().decode("utf-8", "replace")
        told = f"it did not work.\nSaid:  {_why(said)}\nTyped: {name} {tool['acts'][name][0]}"
        raise Mistyped(told) from None
    except OSError:
        raise Mistyped("the tools do not run any more. Start them: python -m lifecyclehub.sandbox") from None


def _why(said: str) -> str:
    """Give our own sentence about what was typed, else the tool's answer as it is."""
    try:
        answer = json.loads(said)
    except ValueError:
        return said
    return str(answer["error"]) if isinstance(answer, dict) and isinstance(answer.get("error"), str) else said


def _given(value: Any, wanted: str, indent: str) -> Iterator[str]:
    """Give a member wherever it stands, what lies deeper indented."""
    if isinstance(value, dict):
        if wanted in value:
            yield f"{indent}{value[wanted]}"
            indent += "  "
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _given(one, wanted, indent)


def _shown(value: Any, wanted: str | None) -> str:
    if wanted is not None:
        return "\n".join(_given(value, wanted, ""))
    if isinstance(value, dict) and not any(isinstance(one, dict | list) for one in value.values()):
        return "\n".join(f"{name} {one}" for name, one in value.items())
    return json.dumps(value, ensure_ascii=False, indent=2)


def _parser() -> argparse.ArgumentParser:
    told = {"formatter_class": argparse.RawDescriptionHelpFormatter, "description": __doc__}
    parser = argparse.ArgumentParser(prog="python -m lifecyclehub.sandbox", **told)  # type: ignore[arg-type]
    parser.add_argument("--home", type=Path, default=Path("tools"), help="where the tools keep what happens (tools)")
    parser.add_argument("--give", help="print only what has this name in the answer")
    parser.add_argument("tool", nargs="?", help="hubspot, asana, zendesk or xero; none starts all of them")
    parser.add_argument("act", nargs="?", help="what somebody does there; none lists what there is")
    parser.add_argument("values", nargs="*", help="name=value")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line. Gives the exit code."""
    asked = _parser().parse_intermixed_args(arguments)
    try:
        if asked.tool is None:
            asked.home.mkdir(parents=True, exist_ok=True)
            asyncio.run(_serve(asked.home))
        elif asked.act in _SHOWN:
            print(_SHOWN[asked.act](asked.home, asked.tool))
        elif asked.act is None:
            print(_all_acts(_tool(asked.home, asked.tool)))
        else:
            print(_shown(_do(_tool(asked.home, asked.tool), asked.act, asked.values), asked.give))
    except Mistyped as mistake:
        print(f"Error: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
