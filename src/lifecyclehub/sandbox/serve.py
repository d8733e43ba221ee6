"""The four simulated tools in a process of their own: `python -m lifecyclehub.sandbox.serve --home DIR`.

When they listen, one JSON line on standard output says where, and which file (0600, in the home) holds the credentials.
They stop on SIGTERM, on SIGINT, and when standard input ends: they never outlive whoever started them.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.sandbox.tool import Tool
from lifecyclehub.sandbox.xero import Xero
from lifecyclehub.sandbox.zendesk import ZendeskTool

CREDENTIALS, DESCRIPTION = "credentials.json", "tools.json"
# Seconds. Real vendors need minutes to show what they did; these finish and show it within one second.
QUICK = {"total_s": "3", "server_timeout_s": "1", "lag_s": "1"}


def described(tool: Any) -> dict[str, Any]:
    """Give what an admin needs to connect a tool, but for its credentials."""
    return {
        "base_url": tool.base_url(),
        "auth": tool.auth,
        "account_id": tool.account_id,
        "settings": {**tool.settings(), **QUICK},
    }


def write_secrets(file: Path, tools: Sequence[Any]) -> None:
    """Write all credentials and signing secrets into a file that only its owner can read."""
    secrets = {tool.name: {"credentials": tool.credentials, "signing_secret": tool.signing_secret} for tool in tools}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        json.dump(secrets, out)


def _end_with_input(over: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        over.set()


def describe(home: Path, tools: Sequence[Any]) -> None:
    """Write what `python -m lifecyclehub.sandbox` needs to act in the tools, and their secrets."""
    write_secrets(home / CREDENTIALS, tools)
    facts = {tool.name: {**described(tool), "acts": {name: _told(act) for name, act in tool.acts.items()}} for tool in tools}
    (home / DESCRIPTION).write_text(json.dumps(facts), "utf-8")


def _told(act: Callable[..., Any]) -> list[str]:
    """Give how an act is typed, and what it does."""
    typed = []
    for one in inspect.signature(act).parameters.values():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            typed.append("field=…")
        else:
            typed.append(f"{one.name}=…" if one.default is inspect.Parameter.empty else f"[{one.name}=…]")
    return [" ".join(typed), (inspect.getdoc(act) or "").partition("\n")[0]]


async def serve(home: Path) -> None:
    """Run the tools until told to stop."""
    tools: list[Tool] = [HubSpotTool(home), AsanaTool(home), ZendeskTool(home), Xero(home)]
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    loop.add_reader(sys.stdin.fileno(), _end_with_input, over)
    for tool in tools:
        await tool.start()
    describe(home, tools)
    print(json.dumps({"tools": {tool.name: described(tool) for tool in tools}, "credentials": CREDENTIALS}), flush=True)
    await over.wait()
    await asyncio.gather(*(tool.stop() for tool in tools))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m lifecyclehub.sandbox.serve", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="where the tools keep their history files")
    home: Path = parser.parse_args(arguments).home
    home.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(home))
    return 0


if __name__ == "__main__":
    sys.exit(main())
