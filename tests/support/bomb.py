"""A connector whose code ends the process, and a hub that works with it: `python -m tests.support.bomb HOME TIMES`."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from lifecyclehub.connector import CONTRACT_VERSION, About, Auth, Call, Door, Host, Kind, Signature
from lifecyclehub.hub import Hub
from lifecyclehub.messages import Delivery, Document, Notice, Ref
from lifecyclehub.registry.registry import Registry
from lifecyclehub.settings import read_settings
from tests.support.contract_world import ThrowAway

DIED = 70


class Bomb(ThrowAway):
    """Ends the process when it reads `bomb`, or looks at the record `bomb`, as a fault in a C library would."""

    about = About(
        id="bomb",
        name="Bomb",
        contract=CONTRACT_VERSION,
        roles=("crm",),
        kinds=(Kind(id="bomb.deal", fills="deal"),),
        doors=(
            Door(name="app", signature=Signature(header="Bomb-Token", algorithm="token"), scope="connection", setup="by_hand"),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.bomb.example"),),
        actions=(),
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        if b"bomb in the body" in delivery.body:
            os._exit(DIED)
        return [Notice(kind="bomb.deal", record_id=delivery.json["record"])]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        await asyncio.sleep(0)
        if ref.id == "bomb":
            os._exit(DIED)
        return Document(kind=ref.kind, id=ref.id, data={"name": ref.id})


Bomb.mappings = {
    "deal.toml": """
        format = 1
        record = "bomb.deal"
        [fields]
        "deal.title" = { from = "name", required = true }
    """
}


async def work(home: Path) -> None:
    """Start a hub, let it do what is open, and stop it."""
    hub = Hub(read_settings(home), registry=Registry.of(Bomb()))
    await hub.start()
    await hub.settled()
    await hub.intake.tick()
    await hub.settled()
    await hub.stop()


def in_a_process(home: Path) -> int:
    """Work in a process of its own, which has nothing to load any more; gives how that ended."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        asyncio.run(work(home))
        os._exit(0)
    finally:  # something was raised: it is this process's end, not that of the one it came from
        traceback.print_exc()
        os._exit(1)


def main(home: Path, times: int) -> None:
    """Let one hub after the other work until one ends as it should, at most so many; prints how each ended."""
    for _ in range(times):
        code = in_a_process(home)
        print(code, flush=True)
        if code == 0:
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
