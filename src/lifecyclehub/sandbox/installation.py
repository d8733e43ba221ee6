"""A home for the demo: made anew, connected to the simulated tools with the functions that serve a real set-up."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lifecyclehub.admin.connections import ByHandSteps, add_connection, open_endpoint, set_signing_secret, subscribe
from lifecyclehub.admin.endpoints import url_of
from lifecyclehub.admin.handoffs import set_handoff
from lifecyclehub.admin.setup import init_home
from lifecyclehub.cli.progress import Doing, doing
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.hub import Hub
from lifecyclehub.sandbox.processes import HubProcess, Tools
from lifecyclehub.settings import read_settings
from lifecyclehub.store.things import Row

MARK = ".made-by-the-demo"
HANDOFFS = ("won-deal-starts-delivery", "ticket-joins-project", "closed-project-drafts-invoice")
ORDER = ("hubspot", "asana", "zendesk", "xero")
TEMPLATE = ("Client delivery", ["Kick-off", "Hand over"])
WHO = "demo"


def fresh_home(home: Path) -> None:
    """Make the folder anew. Raises ConfigurationError for one that the demo did not make, or that a running hub uses."""
    if home.exists() and any(home.iterdir()):
        if not (home / MARK).is_file():
            raise ConfigurationError(
                "this folder is not empty, and the demo did not make it.",
                where=str(home),
                mend="Name another one: lifecyclehub demo --home other-folder.",
            )
        if _in_use(home / "hub.lock"):
            raise ConfigurationError(
                "a demo is still running here.",
                where=str(home),
                mend="Stop it with Ctrl-C where it runs, or name another folder.",
            )
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARK).write_text("The demo made this folder, and may delete it.\n", "utf-8")
    init_home(read_settings(home))


def _in_use(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def connect(home: Path, tools: Tools, process: HubProcess, settings: Mapping[str, str] | None = None) -> str:
    """Connect the tools, switch the handoffs on, start the hub and let the tools call it. Gives the hub's address.

    `settings` are for every connection, beside those that lead to its tool.
    """
    with doing("Connecting the tools", 2 * len(ORDER)) as line:
        return _connect_all(home, tools, process, settings or {}, line)


def _connect_all(home: Path, tools: Tools, process: HubProcess, settings: Mapping[str, str], line: Doing) -> str:
    template = tools.act("asana", "add_template", name=TEMPLATE[0], tasks=TEMPLATE[1])["id"]
    process.start()  # it comes up while the connections are made; it takes them over by itself
    more = {name: dict(settings) for name in ORDER}
    more["asana"]["project_template"] = template
    return asyncio.run(_connect(home, tools, process, more, line))


async def _connect(home: Path, tools: Tools, process: HubProcess, more: Mapping[str, Mapping[str, str]], line: Doing) -> str:
    hub = Hub(read_settings(home))
    try:
        rows = []
        for name in ORDER:
            rows.append(await _add(hub, tools, name, more[name]))
            line.one_more()
        for handoff in HANDOFFS:
            await set_handoff(hub, handoff, "on", WHO)
        address = await asyncio.to_thread(process.wait_until_ready)
        hub.settings = replace(hub.settings, port=read_settings(home).port)
        for row in rows:
            await _hear(hub, tools, row)
            line.one_more()
    finally:
        await hub.client.aclose()
        hub.runner.close()
        await asyncio.to_thread(hub.store.close)
        hub.engine.dispose()
    return address


async def _add(hub: Hub, tools: Tools, name: str, more: Mapping[str, str]) -> Row:
    about = tools.about[name]
    settings = {**about["settings"], **more}
    secrets = tools.secrets[name]["credentials"]
    account = about["account_id"]
    return await add_connection(
        hub, name=name, connector=name, secrets=secrets, settings=settings, auth=about["auth"], account_id=account
    )


async def _hear(hub: Hub, tools: Tools, row: Row) -> None:
    """Let a tool call the hub: by its API where it has one for that, else as a person does it in the tool's pages."""
    name = row["connector"]
    steps = await subscribe(hub, row)
    if isinstance(steps, ByHandSteps):
        endpoint = await open_endpoint(hub, row)
        await set_signing_secret(hub, endpoint["id"], tools.secrets[name]["signing_secret"])
        url = url_of(hub, endpoint["id"], row)
        await asyncio.to_thread(tools.act, name, "set_webhook", url=url)
