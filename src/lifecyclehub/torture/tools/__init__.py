"""Connectors of the torture test: one for each role, made for each kind of `once`, all speaking one plain API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import BaseModel

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Account,
    Action,
    Auth,
    Call,
    Connector,
    Door,
    FieldInfo,
    Host,
    Kind,
    Marker,
    NativeKey,
    Natural,
    Never,
    Once,
    Page,
    Signature,
    UniqueId,
    usual_judgement,
)
from lifecyclehub.errors import Forbidden, Moved, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import (
    Absent,
    Accepted,
    CannotTell,
    Delivery,
    Document,
    Done,
    Found,
    Json,
    Key,
    Notice,
    Outcome,
    Ref,
    Refused,
    Reply,
    Request,
    Retry,
    Sighting,
    Unknown,
)

Order = Literal["version", "time", "none"]
LAG_S = 15.0
KEY_S = 240.0
KEY_HEADER = "Idempotency-Key"
SERVER_TIMEOUT_S = 20.0
TOKEN_PATH = "/oauth/token"
TOKEN = Auth(name="token", kind="bearer", label="Token", secrets=("token",))
ROTATING = Auth(
    name="rotating",
    kind="refresh",
    label="OAuth",
    secrets=("client_id", "client_secret", "refresh_token"),
    token_host="api",
    token_path=TOKEN_PATH,
    rotates=True,
    body_json=True,
)

# How doing it once can be made sure. "job" answers 202 and does it later; "verified" may answer 200 and do nothing.
ONCE: dict[str, Once] = {
    "marker": Marker("ref", LAG_S),
    "job": Marker("ref", LAG_S),
    "verified": Marker("ref", LAG_S),
    "key": NativeKey(KEY_HEADER, 86_400.0, marker_after=False),
    "key with stored errors": NativeKey(KEY_HEADER, 86_400.0, caches_errors=True),
    "key for a while": NativeKey(KEY_HEADER, KEY_S),
    "unique": UniqueId("ref"),
    "never": Never(),
}


@dataclass(frozen=True, slots=True)
class Character:
    """What a tool is like: how it does things once, what newer means, whether its webhooks carry the record."""

    once: str
    order: Order = "version"
    whole: bool = False


def done(made: Mapping[str, Any]) -> Done:
    """Read a record that was made or found."""
    return Done(record_id=made["id"], url=made["url"], version=str(made["version"]))


class Make(Action[BaseModel]):
    """Makes a record; every once-kind there is."""

    how: ClassVar[str]
    adopts: ClassVar[str | None] = None

    def render(self, v: BaseModel, body: Json, key: Key) -> Request:
        headers = ((KEY_HEADER, key.idempotency),) if isinstance(self.once, NativeKey) else ()
        return Request(method="POST", path=f"/{self.creates}", headers=headers, json={**body, "ref": key.marker})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        usual = usual_judgement(reply, creates=True)
        if usual is not None:
            return usual
        try:
            made = reply.json()
        except NotOurJson as error:
            return Unknown(str(error))
        if not isinstance(made, dict):
            return Unknown("the reply is no record")
        if "error" in made:
            return Retry(str(made["error"])) if made.get("nothing_done") else Unknown(str(made["error"]))
        if reply.status == 202:
            return Accepted(str(made["handle"]))
        return done(made)

    async def check(self, call: Call, handle: str) -> Outcome:
        reply = await call.send(Request(method="GET", path=f"/jobs/{quote(handle)}"))
        if reply.status != 200:
            return Accepted(handle)
        said = reply.json()
        if said["state"] == "running":
            return Accepted(handle)
        return done(said["record"]) if said["state"] == "done" else Retry("the tool gave it up")

    async def find(self, call: Call, v: BaseModel, key: Key) -> Sighting:
        wanted = (("ref", key.marker),)
        if self.adopts is not None:
            value = getattr(v, self.adopts)
            if value is None:
                return Absent()
            wanted = (("twin", str(value)),)
        elif isinstance(self.once, Never) or (isinstance(self.once, NativeKey) and not self.once.marker_after):
            return CannotTell("this tool cannot be searched")
        found: list[Done] = []
        page: int | None = 1
        while page is not None:
            query = (*wanted, ("page", str(page)))
            said = await answered(call, Request(method="GET", path=f"/find/{self.creates}", query=query))
            found += [done(one) for one in said["records"]]
            page = said["next"]
        return Found(tuple(found)) if found else Absent()


class Set(Action[BaseModel]):
    """Writes fields of a record."""

    def render(self, v: BaseModel, body: Json, key: Key) -> Request:
        record = quote(str(getattr(v, str(self.target_field))), safe="")
        return Request(method="PATCH", path=f"/{self.target}/{record}", json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        usual = usual_judgement(reply, creates=False)
        if usual is not None:
            return usual
        try:
            said = reply.json()
        except NotOurJson as error:
            return Retry(str(error))
        return Retry(str(said["error"])) if "error" in said else done(said)

    async def find(self, call: Call, v: BaseModel, key: Key) -> Sighting:
        return CannotTell("doing it again changes nothing")


def make(
    name: str, value: type[BaseModel], creates: str, how: str, *, target: tuple[str, str] | None = None, adopts: str | None = None
) -> Action[Any]:
    """Make the action that makes a record in one way of doing it once."""
    members: dict[str, Any] = {"name": name, "input": value, "creates": creates, "once": ONCE[how], "how": how}
    members |= {"verify_after": how == "verified", "adopts_twin": adopts is not None, "adopts": adopts}
    if target is not None:
        members |= {"target": target[0], "target_field": target[1]}
    made: Action[Any] = type(name, (Make,), members)()
    return made


def change(name: str, value: type[BaseModel], target: str, field: str) -> Action[Any]:
    """Make the action that changes a record."""
    members = {"name": name, "input": value, "target": target, "target_field": field, "once": Natural()}
    made: Action[Any] = type(name, (Set,), members)()
    return made


async def answered(call: Call, request: Request) -> Any:
    """Give the JSON of a complete answer. Raises what the contract has for anything else."""
    reply = await call.send(request)
    if reply.status == 403:
        raise Forbidden("the tool does not show it")
    if reply.status in (404, 410):
        raise RecordGone("the tool has no such record")
    if reply.status != 200:
        raise TryAgain(f"status {reply.status}")
    try:
        return reply.json()
    except NotOurJson as error:
        raise TryAgain(str(error)) from error


class Tool(Connector):
    """What all tools of the torture test have in common."""

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        for one in delivery.json["entries"]:
            document = document_of(one["record"]) if one.get("record") else None
            yield Notice(
                kind=one["kind"],
                record_id=one["id"],
                account="1",
                key=one["key"],
                at=datetime.fromisoformat(one["at"]),
                version=str(one["version"]),
                change=one["change"],
                into=one.get("into"),
                document=document,
            )

    async def accounts(self, call: Call) -> Sequence[Account]:
        return [Account(id="1", name="The only one", currency="EUR")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        said = await answered(call, Request(method="GET", path=f"/{ref.kind}/{quote(ref.id, safe='')}"))
        if said.get("merged_into"):
            raise Moved(said["merged_into"])
        return document_of(said)

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        since = "" if cursor is None and full else cursor or call.now().isoformat()
        after = ""
        while True:
            query = (("since", since), ("after", after), ("account", call.account))
            said = await answered(call, Request(method="GET", path=f"/changed/{kind}", query=query))
            notices = tuple(
                Notice(kind=kind, record_id=one["id"], account="1", version=str(one["version"]), change=one["change"])
                for one in said["records"]
            )
            if said["next"] is None:
                yield Page(notices, said["cursor"], last=True)
                return
            yield Page(notices, cursor, last=False)
            after = said["next"]

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        return ()


def document_of(said: Mapping[str, Any]) -> Document:
    """Read a record with what comes along."""
    return Document(
        kind=said["kind"],
        id=said["id"],
        account="1",
        version=str(said["version"]),
        changed_at=datetime.fromisoformat(said["changed_at"]),
        data=said["data"],
        related=tuple(document_of(one) for one in said.get("related", ())),
        marker=said.get("ref"),
        url=said["url"],
    )


def about(name: str, role: str, kinds: Sequence[Kind], actions: Sequence[Action[Any]]) -> About:
    """Describe a tool."""
    door = Door(
        name="hook",
        signature=Signature(header="X-Signature", parts=("url", "body")),
        scope="connection",
        setup="by_hand",
        delivery_key="X-Delivery",
    )
    return About(
        id=name,
        name=name.title(),
        contract=CONTRACT_VERSION,
        roles=(role,),
        kinds=tuple(kinds),
        doors=(door,),
        auths=(TOKEN, ROTATING),
        hosts=(Host(name="api", base=f"https://api.{name}.example"),),
        actions=tuple(actions),
        server_timeout_s=SERVER_TIMEOUT_S,
    )


def kind(character: Character, name: str, fills: str | None = None, *, opens: bool = False) -> Kind:
    """Describe a kind of record, ordered as the tool's character says."""
    resolution = 1.0 if character.order == "time" else 0.0
    return Kind(
        id=name,
        fills=fills,
        order=character.order,
        resolution_s=resolution,
        deletes="webhook",
        poll_s=60 if fills else None,
        creates_client=opens,
    )


def tool(base: type[Tool], description: About) -> Tool:
    """Make a tool of a character."""
    made: Tool = type(base.__name__, (base,), {"about": description, "__module__": base.__module__})()
    return made


__all__ = [
    "KEY_S",
    "LAG_S",
    "ONCE",
    "SERVER_TIMEOUT_S",
    "Character",
    "Refused",
    "Tool",
    "about",
    "change",
    "kind",
    "make",
    "tool",
]
