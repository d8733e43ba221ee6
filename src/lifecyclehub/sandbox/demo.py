"""`lifecyclehub demo`: the whole way of one client through four simulated tools, with a proof at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from pathlib import Path

from rich.text import Text

from lifecyclehub.sandbox.installation import connect, fresh_home
from lifecyclehub.sandbox.processes import DidNotHappen, HubProcess, Tools, stopped_in_order
from lifecyclehub.sandbox.story import Story
from lifecyclehub.sandbox.telling import Teller
from lifecyclehub.sandbox.watch import Watch

HOME = Path("demo-home")
_LOOK_S = 0.5


def main(once: bool, home: Path | None) -> int:  # noqa: FBT001 (the command's own switch)
    """Walk through the story in a new home. With `once` end then: 0 when the proof holds, else 1.

    Otherwise the hub and the tools go on until Ctrl-C. Raises ConfigurationError for a folder that the demo did not make.
    """
    shown = home or HOME
    home = shown.absolute()
    began = time.monotonic()
    fresh_home(home)
    with stopped_in_order(), contextlib.ExitStack() as stack:
        try:
            return _walk(stack, home, shown, began, once=once)
        except DidNotHappen as error:
            print(f"\nThe demo stopped: {error}\nLogs: {shown / 'hub.log'}, {shown / 'tools.log'}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped before the end.", file=sys.stderr)
            return 130


def _walk(stack: contextlib.ExitStack, home: Path, shown: Path, began: float, *, once: bool) -> int:
    watch = stack.enter_context(Watch(home))
    tell = Teller(home, watch, began)
    tell.step(
        "A new installation, and four simulated tools",
        f"Home: {shown}/. HubSpot, Asana, Zendesk and Xero run in one process on this machine, the hub in another.",
    )
    tools = Tools(home / "tools", home / "tools.log")
    stack.callback(tools.stop)
    hub = HubProcess(home, home / "hub.log")
    stack.callback(hub.stop)
    address = connect(home, tools, hub)
    tell.line("ready", f"{address}: four connections, three handoffs on, and the tools call the hub", "green")
    story = Story(home, tools, hub, watch, tell)
    holds = story.run()
    tell.console.print(Text(f"It took {tell.seconds:.0f} s.", style="dim"))
    if not once:
        _stay(tell, hub, tools, address, shown, story.deal)
    return 0 if holds else 1


def _stay(tell: Teller, hub: HubProcess, tools: Tools, address: str, shown: Path, deal: str) -> None:
    """Leave everything running until somebody stops it."""
    hubspot, program = tools.about["hubspot"], _program("lifecyclehub")
    ask = f"{_program('python')} -m lifecyclehub.sandbox --home {shown / 'tools'}"
    tell.console.print()
    tell.console.print(Text(f"The hub goes on at {address}, the tools with it. Stop them with Ctrl-C.", style="bold"))
    tell.console.print("In another terminal you can try:")
    for line, why in (
        (f"{program} status --home {shown}", "how things are"),
        (f"{program} explain hubspot/hubspot.deal/{deal} --home {shown}", "why all this was done"),
        (f"{program} effects --home {shown}", "everything that was done"),
        (f"{ask} asana", "what people can do in a tool"),
        (f"{ask} hubspot win_deal deal={deal}", "win the same deal again: nothing happens twice"),
        (f"curl {hubspot['base_url']}/_sandbox/settled", "a tool answers by itself"),
    ):
        tell.console.print(Text(f"  {line}"), Text(f" # {why}", style="dim"))
    over = threading.Event()
    try:
        while hub.running and tools.running:
            over.wait(_LOOK_S)
    except KeyboardInterrupt:
        tell.console.print("\nStopping.")
        return
    who = "The hub" if not hub.running else "The simulated tools"
    raise DidNotHappen(f"{who} ended by itself.")


def _program(name: str) -> str:
    """Give what to type for a program that was installed together with this one."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if found and Path(found).parent == beside.parent else min(os.path.relpath(beside), str(beside), key=len)
