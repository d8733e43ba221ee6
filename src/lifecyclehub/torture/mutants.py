"""Breaks of the production code, each one a text that is found and replaced in one function. The scenarios must catch all."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import multiprocessing
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final

from lifecyclehub.torture.batch import temporary_database
from lifecyclehub.torture.database import Database
from lifecyclehub.torture.plan import plan_of
from lifecyclehub.torture.scenario import run


@dataclass(frozen=True, slots=True)
class Mutant:
    """`place` is `module:function` or `module:Class.method`, below `lifecyclehub`. `hint`: a seed that is known to catch it."""

    promise: str
    place: str
    find: str
    replace: str
    hint: int | None = None


class Stale(Exception):
    """A mutant whose text is not in its function any more: write it anew."""


MUTANTS: Final[dict[str, Mutant]] = {
    "answers before the commit": Mutant(
        "P1",
        "intake.receive:Reception._keep",
        "await self._store.run(keep, arrival)",
        "__import__('asyncio').ensure_future(self._store.run(keep, arrival))",
        hint=3,
    ),
    "splits without keeping notices": Mutant(
        "P1",
        "intake.split:split",
        "insert_new(conn, tables.notice,",
        "(lambda *_: None)(conn, 0,",
        hint=0,
    ),
    "takes a failed look for the end": Mutant(
        "P1",
        "intake.work:Intake._failed",
        '("open", "retry") if when is not None',
        '("ignored", "deleted") if when is not None',
        hint=0,
    ),
    "never lets a connection's notices go on": Mutant("P7", "hub:Hub._release_held", "if active:", "if not active:", hint=1),
    "sweeps only the first page": Mutant("P1", "torture.tools:Tool.sweep", 'if said["next"] is None:', "if True:", hint=11),
    "takes anybody's word": Mutant(
        "P5", "intake.receive:Reception._verified", "if not verdict.ok:", "if verdict.ok is None:", hint=2
    ),
    "takes older news": Mutant(
        "P4",
        "intake.newness:age",
        'if by_vendor != "tie":',
        'if by_vendor == "older":\n        return "newer"\n    if by_vendor != "tie":',
        hint=0,
    ),
    "forgets that a record is gone": Mutant(
        "P4",
        "intake.settle:Settle._deleted",
        'deleted_at=(link or {}).get("deleted_at") or seen.seen_at',
        "deleted_at=None",
        hint=50,
    ),
    "acts on history": Mutant(
        "P10",
        "insight.world:World.go_live",
        'return switch["go_live"]',
        'return switch["go_live"].replace(year=2000)',
        hint=0,
    ),
    "does it again for each version": Mutant(
        "P2",
        "dispatch.plan:Planner._add",
        "key = planned.key()",
        'key = planned.key() + str(subject.state.engagement["version"])',
        hint=2,
    ),
    "sends a lost answer again": Mutant(
        "P2",
        "dispatch.perform:Performer._send",
        "nothing_done = not error.sent or",
        "nothing_done = True or",
        hint=2,
    ),
    "takes an expired claim for ready": Mutant(
        "P2",
        "dispatch.upkeep:expire",
        "counts.append(_OVER_TIME.count(conn, at=at))",
        "expired = (_effect.c.state == 'in flight') & _effect.c.handle.is_(None) & (_effect.c.deadline < at)\n"
        "            conn.execute(update(_effect).where(expired).values(state='ready', not_before=at))\n"
        "            counts.append(0)",
        hint=34,
    ),
    "looks for a job instead of asking after it": Mutant(
        "P2",
        "dispatch.upkeep:expire",
        "counts.append(_OVER_TIME.count(conn, at=at))",
        "expired = (_effect.c.state == 'in flight') & (_effect.c.deadline < at)\n"
        "            conn.execute(update(_effect).where(expired).values(state='in doubt', not_before=at))\n"
        "            counts.append(0)",
        hint=26,
    ),
    "takes a failed look-up for absence": Mutant(
        "P2",
        "dispatch.perform:Performer.look",
        "return CannotTell(str(error))",
        "from lifecyclehub.messages import Absent\n        return Absent()",
        hint=18,
    ),
    "does not wait for the vendor's lag": Mutant(
        "P2",
        "dispatch.lookup:Lookup._until_visible",
        "return server_timeout_s(target) + lag - ",
        "return -1e9 - ",
        hint=2,
    ),
    "forgets that a key ends": Mutant(
        "P2", "dispatch.lookup:Lookup._key_serves", "if not 0 <= age <", "if age is None and not 0 <= age <", hint=45
    ),
    "takes the first of two": Mutant(
        "P2",
        "dispatch.receipt:WriteReceipts._apply",
        "if isinstance(outcome, Found) and len(outcome.records) == 1:",
        "if isinstance(outcome, Found) and outcome.records:",
        hint=351,
    ),
    "looks at the first page only": Mutant("P2", "torture.tools:Make.find", 'page = said["next"]', "page = None", hint=2),
    "leaves no marker": Mutant("P2", "torture.tools:Make.render", '"ref": key.marker', '"ref": key.idempotency', hint=0),
    "sends whatever the claim says": Mutant(
        "P2",
        "dispatch.perform:Performer._claim_and_send",
        'if claimed.verdict != "go":',
        'if claimed.verdict == "again":',
        hint=3,
    ),
    "takes a refusal of access for a refusal": Mutant(
        "P7",
        "dispatch.receipt:WriteReceipts._barred",
        '"state": "held", "reason": "connection"',
        '"state": "parked", "reason": "refused"',
        hint=7,
    ),
    "links what it made to nothing": Mutant(
        "P2",
        "dispatch.made:Made._project",
        "return str(project)",
        'return self._ids.new("pro")',
        hint=2,
    ),
    "takes our own record for a stranger's": Mutant(
        "P2", "intake.match:Matcher.open_create", 'return str(create["id"])', "return None", hint=306
    ),
    "ignores what must come first": Mutant(
        "P2",
        "dispatch.advance:_open_needs",
        'if one["state"] != "done"',
        'if one["state"] == "nowhere"',
        hint=0,
    ),
    "does not wait as asked": Mutant(
        "P7", "dispatch.receipt:WriteReceipts._again", "now, after, self._randomness", "now, 0.0, self._randomness", hint=382
    ),
    "renews the access in the quiet": Mutant(
        "P7", "vendor.rates:RateLimits.quiet_for", "left if left > _NO_TIME_S else 0.0", "0.0", hint=712682
    ),
    "tells the secret": Mutant(
        "P9", "vendor.exchange:Exchange.run", "_said(host, error)", 'f"{host}: {request.headers}"', hint=0
    ),
    "takes its own change for a stranger's": Mutant(
        "P3",
        "intake.news:genuine",
        "elif row is not None and not (sent is not None and is_echo(sent, now)):",
        "elif row is not None:",
        hint=0,
    ),
    "forgets what it saw of nobody's record": Mutant(
        "P1", "dispatch.made:Made._look_again", "(self._overlooked, _LOOK_AGAIN)", "((), _LOOK_AGAIN)", hint=54
    ),
    "drops what it cannot map": Mutant(
        "P1",
        "intake.work:Intake._failed",
        'state="parked", reason="mapping"',
        'state="ignored", reason="not mapped"',
        hint=37,
    ),
    "forgets what a person is asked": Mutant(
        "P1",
        "intake.answered:close_answered",
        "_ANSWERED.values(",
        "update(_notice).where(_notice.c.state == 'parked').values(state='processed', reason='seen since', ",
        hint=60042,
    ),
    "takes a look before it for an answer": Mutant(
        "P1",
        "intake.answered:close_answered",
        "_ANSWERED.values(",
        "update(_notice)\n"
        "        .where(_notice.c.state == 'parked', exists().where(*_its_link, _link.c.fetched_at > _notice.c.kept_at))\n"
        "        .values(state='processed', reason='seen since', ",
        hint=60042,
    ),
    "keeps as it comes what tells of who was erased": Mutant(
        "I15", "intake.receive:Reception._keep", "erased.body(incoming.body)", "incoming.body", hint=3
    ),
    "takes in what tells of who was erased": Mutant("I15", "intake.fetch:observe", "    if erased:", "    if False:", hint=3),
    "goes on with no erasure that was cut off": Mutant(
        "I15", "admin.erasing:Erasures._finish", "await finish_erasures(self._hub)", "pass", hint=20
    ),
    "writes at once after a restore": Mutant(
        "P2",
        "admin.presence:_must_look_back",
        "return restored is not None and",
        "return False and",
        hint=49,
    ),
    "looks for nothing after a restore": Mutant(
        "P2",
        "dispatch.claim:TakeClaims._forgotten",
        "if restored is None or (",
        "if True or (",
        hint=68,
    ),
    "makes markers of its own ids": Mutant(
        "P2",
        "dispatch.plan:_in_its_tool",
        "return replace(planned, subject_id=known)",
        "return planned",
        hint=68,
    ),
    "uses renewed access before it is kept": Mutant(
        "P7",
        "vendor.grants:Grants._keep",
        "mine = await self._store.save(grant_id, tokens, came_of)",
        "mine = True",
        hint=0,
    ),
    "renews without asking whether another hub does": Mutant(
        "P7",
        "vendor.grants:Grants._renewed",
        "mine = await self._store.hold(target.grant)",
        "mine = True",
        hint=0,
    ),
    "no_fence": Mutant(
        "P2",
        "dispatch.receipt:WriteReceipts._apply",
        'present = one.epoch == row["epoch"] and',
        "present = True or",
        hint=153,
    ),
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the code for as long as the block lasts. Raises Stale when the text to be replaced is not there."""
    mutant = MUTANTS[name]
    module_name, _, place = mutant.place.partition(":")
    module = importlib.import_module(f"lifecyclehub.{module_name}")
    owner: Any = module
    *path, last = place.split(".")
    for part in path:
        owner = getattr(owner, part)
    kept = owner.__dict__[last]
    plain = kept.__func__ if isinstance(kept, staticmethod | classmethod) else kept
    source = textwrap.dedent(inspect.getsource(plain))
    if mutant.find not in source:
        raise Stale(f"{name}: {mutant.find!r} is not in {mutant.place}")
    source = source.replace(mutant.find, mutant.replace)
    made: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + source, f"<{name}>", "exec"), vars(module), made)  # noqa: S102
    sound = plain.__code__  # the code is swapped, not the function: others hold it by a name of their own
    plain.__code__ = made[last].__code__
    try:
        yield
    finally:
        plain.__code__ = sound


@dataclass(frozen=True, slots=True)
class Caught:
    """Which seed noticed a break, and what it noticed."""

    seed: int
    violation: str


def hunt(name: str, database: Database, seeds: int) -> Caught | None:
    """Give the first seed that notices a break and holds without it, None when none of so many does. The hint is tried first."""
    hint = MUTANTS[name].hint
    for seed in dict.fromkeys((*(() if hint is None else (hint,)), *range(seeds))):
        with broken(name):
            found = _noticed(seed, database)
        if found is not None and _noticed(seed, database) is None:
            return Caught(seed, found)
    return None


def _noticed(seed: int, database: Database) -> str | None:
    try:
        return next(map(str, run(plan_of(seed), database).violations), None)
    except Exception as error:  # noqa: BLE001 (what a person typed ended with an error of the code)
        return f"{type(error).__name__}: {error}".partition("\n")[0]


def hunt_all(names: Sequence[str], seeds: int, processes: int) -> Iterator[tuple[str, Caught | None]]:
    """Hunt in so many processes; gives each mutant as soon as its hunt is over."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin) as pool:
        hunts = {pool.submit(_hunted, name, seeds): name for name in names}
        for one in as_completed(hunts):
            yield hunts[one], one.result()


def _begin() -> None:
    logging.disable(logging.CRITICAL)


def _hunted(name: str, seeds: int) -> Caught | None:
    with temporary_database() as database:
        return hunt(name, database, seeds)


__all__ = ["MUTANTS", "Caught", "Mutant", "Stale", "broken", "hunt", "hunt_all"]
