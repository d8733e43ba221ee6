"""The tiny connector that keeps the contract, and how tests change it so that it does not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lifecyclehub.messages import Delivery, Notice
from lifecyclehub.testing.fixtures import DeliveryCase

ROOT = Path(__file__).parents[1] / "unit/testing/tiny_plugin"
sys.path.append(str(ROOT))

from lifecyclehub_tiny import MakeProject, MakeTask, Tiny  # noqa: E402 (found once its folder is on the path)

__all__ = [
    "CHANGED",
    "CREATE",
    "PROJECT",
    "ROOT",
    "TASK",
    "MakeProject",
    "MakeTask",
    "Tiny",
    "case",
    "changed_file",
    "reading",
    "signing",
    "with_about",
]

CHANGED = ROOT / "tests/fixtures/deliveries/changed.json"
PROJECT = ROOT / "tests/fixtures/records/project.json"
CREATE = ROOT / "tests/fixtures/responses/create_project.blank.json"
TASK = ROOT / "tests/fixtures/responses/create_task.json"


def case(**changes: Any) -> DeliveryCase:
    return replace(DeliveryCase.read(CHANGED), **changes)


def changed_file(tmp_path: Path, original: Path, change: Callable[[Any], None]) -> Path:
    found = json.loads(original.read_text())
    change(found)
    made = tmp_path / original.name
    made.write_text(json.dumps(found))
    return made


def with_about(**changes: Any) -> Tiny:
    class Changed(Tiny):
        about = replace(Tiny.about, **changes)

    return Changed()


def signing(**changes: Any) -> Tiny:
    door = Tiny.about.doors[0]
    return with_about(doors=(replace(door, signature=replace(door.signature, **changes)),))


def reading(read: Callable[[Delivery], Iterable[Any]]) -> Tiny:
    class Changed(Tiny):
        def read(self, delivery: Delivery) -> Iterable[Notice]:
            return read(delivery)

    return Changed()
