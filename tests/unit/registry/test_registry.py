"""Connectors are found by entry point; one that cannot be used is refused, and the others load."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lifecyclehub.connector import (
    Action,
    Auth,
    Door,
    Handshake,
    Host,
    Kind,
    Marker,
    NativeKey,
    Natural,
    Rate,
    Setting,
    Signature,
    Timestamp,
)
from lifecyclehub.connector.roles import AddNote, AddTag
from lifecyclehub.errors import PluginRefused
from lifecyclehub.messages import Done, Outcome, Reply, Request
from lifecyclehub.registry import Registry, default_mappings, problems_of

GOOD = """
from lifecyclehub.connector import CONTRACT_VERSION, About, Auth, Connector, Host, Kind
from lifecyclehub.hookspecs import hookimpl

class Tool(Connector):
    about = About(
        id={id!r}, name="Tool", contract=CONTRACT_VERSION, roles=("crm",), doors=(), actions=(),
        kinds=(Kind(id="{id}.deal", fills="deal", poll_s=60),),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.example"),),
    )
    def read(self, delivery): return []
    async def accounts(self, call): return []
    async def fetch(self, call, ref): raise NotImplementedError
    async def sweep(self, call, kind, cursor, *, full):
        yield
    async def fields(self, call, kind): return []

@hookimpl
def lifecyclehub_connectors():
    return [Tool()]
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install throw-away distributions by writing what pip would."""
    modules = set(sys.modules)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def put(connector: str, source: str, *, distribution: str | None = None) -> None:
        distribution = distribution or f"throwaway-{connector}"
        module = distribution.replace("-", "_")
        (site / module).mkdir()
        (site / module / "__init__.py").write_text(textwrap.dedent(source))
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[lifecyclehub.connectors]\n{connector} = {module}\n")
        importlib.invalidate_caches()

    yield put
    for name in set(sys.modules) - modules:
        if name.startswith("throwaway"):
            del sys.modules[name]


def refusal(name: str) -> str:
    registry = Registry.load()
    assert "fine" in registry.connectors, registry.refused
    assert name not in registry.connectors
    found = [str(refused) for refused in registry.refused if refused.name == name]
    assert found, registry.refused
    return found[0]


def test_an_installed_connector_is_found(install: Install) -> None:
    install("fine", GOOD.format(id="fine"))
    registry = Registry.load()
    assert registry.get("fine").about.name == "Tool"
    assert [refused for refused in registry.refused if refused.distribution.startswith("throwaway")] == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class Odd(BaseException): pass\nraise Odd('what')", "Odd: what"),
        ("x = 1", "gives no connectors through the hook lifecyclehub_connectors"),
        (
            "from lifecyclehub.hookspecs import hookimpl\n@hookimpl\ndef lifecyclehub_connectors(): return []",
            "gives no connectors",
        ),
        ("from lifecyclehub.hookspecs import hookimpl\n@hookimpl\ndef lifecyclehub_connectors(): raise SystemExit", "SystemExit"),
        ("from lifecyclehub.hookspecs import hookimpl\n@hookimpl\ndef lifecyclehub_connectors(): return [1]", "no instance of"),
        ("from lifecyclehub.hookspecs import hookimpl\n@hookimpl\ndef lifecyclehub_connector(): return []", "unknown hook"),
        (
            GOOD.format(id="bad").replace("contract=CONTRACT_VERSION", "contract=99"),
            "version 99 of the contract; this hub speaks version 1",
        ),
        (GOOD.format(id="bad").replace('fills="deal", ', ""), "plays the role crm, but none of its kinds fills 'deal'"),
        (GOOD.format(id="bad").replace("    async def fields(self, call, kind): return []\n", ""), "abstract"),
        (GOOD.format(id="other"), "entry point is named bad, but it gives other"),
    ],
)
def test_a_connector_that_cannot_be_used_is_refused_and_the_others_load(install: Install, source: str, said: str) -> None:
    install("fine", GOOD.format(id="fine"))
    install("bad", source)
    text = refusal("bad")
    assert said in text
    assert text.startswith("bad (throwaway-bad 1.0): ")
    with pytest.raises(PluginRefused, match="connector bad"):
        Registry.load().get("bad")


def test_ctrl_c_while_loading_gets_through(install: Install) -> None:
    install("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.load()


def test_a_connector_given_twice_is_used_from_neither(install: Install) -> None:
    install("fine", GOOD.format(id="fine"))
    install("twin", GOOD.format(id="twin"), distribution="throwaway-one")
    install("twin", GOOD.format(id="twin"), distribution="throwaway-two")
    assert "throwaway-one 1.0 and throwaway-two 1.0" in refusal("twin")
    assert sum(refused.name == "twin" for refused in Registry.load().refused) == 2


def test_a_connector_that_is_not_installed_is_named_with_those_that_are(install: Install) -> None:
    install("fine", GOOD.format(id="fine"))
    with pytest.raises(PluginRefused, match=r"nothing is not installed.*Install it with pip\. Installed: .*fine"):
        Registry.load().get("nothing")


def test_default_mappings_come_from_the_package(install: Install, tmp_path: Path) -> None:
    install("fine", "from throwaway_fine.connector import lifecyclehub_connectors")
    package = tmp_path / "site" / "throwaway_fine"
    (package / "connector.py").write_text(GOOD.format(id="fine"))
    (package / "mappings" / "out").mkdir(parents=True)
    (package / "mappings" / "deal.toml").write_text("format = 1\n", "utf-8")
    (package / "mappings" / "out" / "note.toml").write_text('x = "é"\n', "utf-8")
    (package / "mappings" / "README.md").write_text("no mapping")
    assert default_mappings(Registry.load().get("fine")) == {"deal.toml": "format = 1\n", "out/note.toml": 'x = "é"\n'}


def test_a_connector_without_mappings_has_none(install: Install) -> None:
    install("fine", GOOD.format(id="fine"))
    assert default_mappings(Registry.load().get("fine")) == {}


class Note(Action[AddNote]):
    name: ClassVar[str] = "add_note"
    input: ClassVar[type] = AddNote
    once: ClassVar[Any] = Natural()
    target: ClassVar[str | None] = "fine.deal"
    target_field: ClassVar[str | None] = "deal"

    def render(self, v: AddNote, body: Any, key: Any) -> Request:
        return Request(method="POST", path="/notes")

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return Done()


DOOR = Door(name="hooks", signature=Signature(header="X-Sig"), scope="app", setup="by_hand")


def fault(**changes: Any) -> list[str]:
    module: dict[str, Any] = {"__name__": __name__}
    exec(GOOD.format(id="fine"), module)  # noqa: S102 (our own text above)
    tool: Any = module["Tool"]()
    tool.about = replace(tool.about, **changes)
    return problems_of(tool)


def noting(**changes: Any) -> tuple[Action[Any], ...]:
    return (type("Other", (Note,), changes)(),)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": "Fine"}, "its id 'Fine'"),
        ({"name": " "}, "no name"),
        ({"roles": ()}, "no role"),
        ({"auths": ()}, "no way to get in"),
        ({"hosts": ()}, "names no host"),
        ({"kinds": (Kind(id="fine.deal", fills="deal"),)}, "neither listen"),
        ({"kinds": (Kind(id="fine.deal", fills="deal", poll_s=9),) * 2}, "the kind 'fine.deal' is there 2 times"),
        ({"kinds": (Kind(id="deal", fills="deal", poll_s=9),)}, "must be named fine.something"),
        ({"kinds": (Kind(id="fine.deal", fills="deal", poll_s=9), Kind(id="fine.x", fills="thing"))}, "fills 'thing'"),
        ({"kinds": (Kind(id="fine.deal", fills="deal", poll_s=0),)}, "polls every 0 s"),
        (
            {"kinds": tuple(Kind(id=f"fine.{one}", fills=one[:8], poll_s=9) for one in ("deal", "teammate", "teammate2"))},
            "fine.teammate and fine.teammate2 all fill 'teammate'",
        ),
        ({"doors": (DOOR, DOOR)}, "the door 'hooks' is there 2 times"),
        ({"doors": (replace(DOOR, name="a b"),)}, "fits in no address"),
        ({"doors": (replace(DOOR, media=frozenset()),)}, "media types"),
        ({"doors": (replace(DOOR, media=frozenset({"application/json; charset=utf-8"})),)}, "media types"),
        ({"doors": (replace(DOOR, answer=302),)}, "answers 302"),
        ({"doors": (replace(DOOR, lifetime=timedelta(0)),)}, "lifetime that is not positive"),
        ({"doors": (replace(DOOR, heartbeat=timedelta(-1)),)}, "heartbeat that is not positive"),
        ({"doors": (replace(DOOR, handshake=Handshake(header="X-Hook-Secret")),)}, "set up by hand"),
        ({"doors": (replace(DOOR, signature=Signature(header="")),)}, "which header"),
        ({"doors": (replace(DOOR, signature=Signature(header="X", parts=("url",))),)}, "does not sign the body"),
        ({"doors": (replace(DOOR, signature=Signature(header="X", parts=("timestamp", "body"))),)}, "signs a timestamp"),
        (
            {"doors": (replace(DOOR, signature=Signature(header="X", timestamp=Timestamp(header="T", unit="s"))),)},
            "signs a timestamp",
        ),
        ({"auths": (Auth(name="a", kind="bearer", label="", secrets=("key",)),)}, "must ask for the secrets token"),
        (
            {"auths": (Auth(name="a", kind="client_credentials", label="", secrets=("client_id", "client_secret")),)},
            "host 'auth', which is not declared",
        ),
        ({"hosts": (Host(name="api", base="http://api.example"),)}, "must begin with https://"),
        ({"hosts": (Host(name="api", base="https://{site}.example"),)}, "needs the setting 'site'"),
        ({"settings": (Setting(name="a", label="A", pattern="("),)}, "faulty pattern"),
        ({"rates": (Rate(limit=0, per_s=1),)}, "allows nothing"),
        ({"size_cap": 0}, "must be positive"),
        ({"actions": (1,)}, "no instance of Action"),
        ({"actions": noting(input=AddTag)}, "takes AddTag; its role gives AddNote"),
        ({"actions": noting(name="dance")}, "is in none of its roles (crm)"),
        ({"actions": noting(creates="fine.note")}, "creates the kind 'fine.note'"),
        ({"actions": noting(target="fine.note")}, "works on the kind 'fine.note'"),
        ({"actions": noting(target_field="project")}, "field 'project'"),
        ({"actions": noting(target_field=None)}, "must name both"),
        ({"actions": noting(undo="remove_note")}, "undone by 'remove_note'"),
        ({"actions": noting(once="always")}, "does not say how"),
        ({"actions": noting(once=Marker(field="text", lag_s=5))}, "a find that sees it"),
        ({"actions": noting(once=NativeKey(header="Idempotency-Key", window_s=300))}, "no find that sees it"),
        ({"actions": noting() + noting()}, "the action 'add_note' is there 2 times"),
    ],
)
def test_a_description_that_is_not_whole_is_named(changes: dict[str, Any], said: str) -> None:
    found = fault(**changes)
    assert any(said in problem for problem in found), found


def test_a_whole_description_has_no_faults() -> None:
    assert fault(actions=(Note(),), doors=(DOOR,)) == []


def test_a_further_role_may_bring_its_own_actions() -> None:
    assert fault(roles=("crm", "telephony"), actions=noting(name="call_back")) == []


def test_a_registry_of_given_connectors_checks_them_alike() -> None:
    module: dict[str, Any] = {"__name__": __name__}
    exec(GOOD.format(id="fine"), module)  # noqa: S102 (our own text above)
    tool: Any = module["Tool"]()
    assert Registry.of(tool).get("fine").about is tool.about
    tool.about = replace(tool.about, name="")
    with pytest.raises(PluginRefused, match=r"connector fine: it has no name|fine: it has no name"):
        Registry.of(tool)
