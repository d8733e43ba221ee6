"""A connector as small as can be that keeps the whole contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

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
    Page,
    Signature,
    Timestamp,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject, CreateTask
from lifecyclehub.errors import CallFailed, NeedsReauthorization, NotOurJson, RecordGone
from lifecyclehub.messages import (
    Absent,
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
    Sighting,
    Unknown,
    marker_in,
)

KINDS = {"project": "tiny.project", "invoice_template": "tiny.invoice_template"}


def _judge(reply: Reply) -> Outcome:
    if usual := usual_judgement(reply, creates=True):
        return usual
    try:
        said = reply.json()
    except NotOurJson as error:
        return Unknown(str(error))
    if not isinstance(said, dict) or not said.get("id"):
        return Unknown("the reply names no record")
    return Refused(said["error"]) if said.get("error") else Done(record_id=str(said["id"]), url=said.get("url"))


class MakeProject(Action[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = Marker("name", lag_s=1)
    creates = "tiny.project"

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/projects", json={**body, "name": f"{body['name']} {key.marker}"})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return _judge(reply)

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        try:
            reply = await call.send(Request(method="GET", path="/projects", query=(("q", key.marker),)))
            rows = reply.json()["rows"] if reply.status == 200 else None
        except NeedsReauthorization:
            raise
        except (CallFailed, NotOurJson, LookupError, TypeError) as error:
            return CannotTell(str(error))
        if rows is None:
            return CannotTell(f"status {reply.status}")
        found = tuple(Done(record_id=row["id"]) for row in rows if marker_in(row["name"]) == key.marker)
        return Found(found) if found else Absent()


class MakeTask(Action[CreateTask]):
    name = "create_task"
    input = CreateTask
    once = NativeKey("Idempotency-Key", window_s=3600, marker_after=False)
    creates = "tiny.task"
    target = "tiny.project"
    target_field = "project"

    def render(self, v: CreateTask, body: Json, key: Key) -> Request:
        headers = (("Idempotency-Key", key.idempotency),)
        return Request(method="POST", path=f"/projects/{v.project}/tasks", headers=headers, json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return _judge(reply)


class Tiny(Connector):
    about = About(
        id="tiny",
        name="Tiny",
        contract=CONTRACT_VERSION,
        roles=("project",),
        kinds=(
            Kind(id="tiny.project", fills="project", order="time", resolution_s=1, poll_s=300, label="Project"),
            Kind(id="tiny.task", label="Task"),
        ),
        doors=(
            Door(
                name="hook",
                signature=Signature(
                    header="X-Tiny-Signature",
                    parts=("timestamp", b".", "body"),
                    timestamp=Timestamp(header="X-Tiny-Time", unit="s"),
                ),
                scope="connection",
                setup="by_hand",
                secret="Settings, Hooks",
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.tiny.example"),),
        actions=(MakeProject(), MakeTask()),
        setup_steps=("Make a token.",),
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        for event in delivery.json["events"]:
            yield Notice(
                kind=KINDS.get(event["type"]) or f"tiny.{event['type'].strip()}",
                record_id=_id(event["id"]),
                at=_time(event["at"]),
            )

    async def accounts(self, call: Call) -> Sequence[Account]:
        return [Account(id="1", name="Tiny")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        reply = await call.send(Request(method="GET", path=f"/projects/{ref.id}"))
        if reply.status == 404:
            raise RecordGone(ref.id)
        said = reply.json()
        return Document(kind=ref.kind, id=ref.id, changed_at=_time(said["at"]), data=said, marker=marker_in(said["name"]))

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        yield Page((), None, last=True)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        return [FieldInfo(path="name", label="Name", type="text")]


def _id(value: object) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or not value:
        raise ValueError(f"{value!r} is no id")
    return str(value)


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment
