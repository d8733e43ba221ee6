"""What goes wrong at a certain moment: which kind of fault does what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from lifecyclehub.torture.drift import drift
from lifecyclehub.torture.elements import CHAOS_S, DRIFTS, ERASE, Fault
from lifecyclehub.torture.erasing import erase
from lifecyclehub.torture.keeping import change_key
from lifecyclehub.torture.world import World

Strike = Callable[[World, Fault], None]


def _stall(world: World, fault: Fault) -> None:
    world.machine(fault).stall(min(fault.seconds, CHAOS_S))


def _restart(world: World, fault: Fault) -> None:
    world.start(world.machine(fault).restart())


def _kill(world: World, fault: Fault) -> None:
    world.machine(fault).kill(min(fault.seconds, 120.0))


def _die(world: World, fault: Fault) -> None:
    world.machine(fault).kill(fault.seconds)


def _ahead(world: World, fault: Fault) -> None:
    world.clock.ahead += timedelta(seconds=fault.seconds)
    world.outside(120.0, lambda: set_right(world))


def _back(world: World, fault: Fault) -> None:
    world.clock.ahead -= timedelta(seconds=fault.seconds)
    world.outside(120.0, lambda: set_right(world))


def set_right(world: World) -> None:
    """Set the machines' clock right."""
    world.clock.ahead = timedelta(0)
    world.stir()


def _outage(world: World, fault: Fault) -> None:
    _for_a_while(world, world.hooks.outages, fault)


def _down(world: World, fault: Fault) -> None:
    _for_a_while(world, world.hooks.down, fault)


def _for_a_while(world: World, broken: set[str], fault: Fault) -> None:
    broken.add(fault.where)
    world.outside(fault.seconds, lambda: broken.discard(fault.where))


def _hangs(world: World, fault: Fault) -> None:
    _for_a_while(world, world.hooks.hanging, fault)


def _access_lost(world: World, fault: Fault) -> None:
    world.vendors[fault.where].access = False


def _access_ends(world: World, fault: Fault) -> None:
    rotating = world.vendors[fault.where].rotating
    if rotating is not None:
        rotating.end_access()


STRIKES: Final[dict[str, Strike]] = {
    "stall": _stall,
    "hub stalls": _stall,
    "restart": _restart,
    "kill": _kill,
    "hub dies": _die,
    "clock ahead": _ahead,
    "clock back": _back,
    "outage": _outage,
    "down": _down,
    "access lost": _access_lost,
    "access ends": _access_ends,
    "a tool is down": _down,
    "a tool fails": _outage,
    "a tool hangs": _hangs,
    "the key is changed": change_key,
    ERASE: erase,
    **dict.fromkeys(DRIFTS, drift),
}


def strike(world: World, fault: Fault) -> None:
    """Let a fault happen, unless it is calm by now."""
    if not world.calm:
        world.fire(fault)
        STRIKES[fault.kind](world, fault)
