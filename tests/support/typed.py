"""A command as somebody types it, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lifecyclehub.sandbox.hubspot import HubSpotTool

Run = Callable[..., "Ended"]
WON = "won-deal-starts-delivery"


class Ended:
    """How a command ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)


def settings(tool: Any) -> list[str]:
    return [word for name, value in tool.settings().items() for word in ("--set", f"{name}={value}")]


def add(run: Run, tool: HubSpotTool, name: str = "crm", *more: str) -> Ended:
    return run("connections", "add", name, "hubspot", *settings(tool), *more, typed=f"{tool.credentials['token']}\n")
