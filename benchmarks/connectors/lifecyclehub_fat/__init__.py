"""A tool whose signed webhooks carry the whole deal and its company; projects are made with an idempotency key.

For measuring only: what it says is authoritative, so that the hub fetches nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar

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
    NativeKey,
    Once,
    Page,
    Signature,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import NotOurJson, Unsupported
from lifecyclehub.hookspecs import hookimpl
from lifecyclehub.messages import Delivery, Document, Done, Json, Key, Notice, Outcome, Ref, Reply, Request, Unknown


class MakeProject(Action[CreateProject]):
    """Make a project; the tool folds requests with the same key."""

    name: ClassVar[str] = "create_project"
    input: ClassVar[type[CreateProject]] = CreateProject
    creates: ClassVar[str | None] = "fat.project"
    once: ClassVar[Once] = NativeKey("Idempotency-Key", window_s=86_400, marker_after=False)

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/projects", headers=(("Idempotency-Key", key.idempotency),), json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        usual = usual_judgement(reply, creates=True)
        if usual is not None:
            return usual
        try:
            made = reply.json()
        except NotOurJson as error:
            return Unknown(str(error))
        return Done(record_id=made["id"], url=made["url"])


class Fat(Connector):
    """CRM and project tool in one."""

    about: ClassVar[About] = About(
        id="fat",
        name="Fat",
        contract=CONTRACT_VERSION,
        roles=("crm", "project"),
        kinds=(
            Kind(id="fat.deal", fills="deal", order="version", creates_client=True, label="Deal"),
            Kind(id="fat.company", fills="client", order="version", label="Company"),
            Kind(id="fat.project", fills="project", label="Project"),
        ),
        doors=(
            Door(
                name="hook",
                signature=Signature(header="X-Fat-Signature"),
                scope="connection",
                setup="by_hand",
                delivery_key="X-Fat-Delivery",
            ),
        ),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.fat.example"),),
        actions=(MakeProject(),),
    )

    def read(self, delivery: Delivery) -> Iterable[Notice]:
        event = delivery.json
        deal = _document("fat.deal", event["deal"], (_document("fat.company", event["company"]),))
        yield Notice(kind="fat.deal", record_id=deal.id, key=event["event"], version=deal.version, document=deal)

    async def accounts(self, call: Call) -> Sequence[Account]:
        return [Account(id="1", name="Fat")]

    async def fetch(self, call: Call, ref: Ref) -> Document:
        raise Unsupported("the webhooks of this tool carry everything")

    async def sweep(self, call: Call, kind: str, cursor: str | None, *, full: bool) -> AsyncIterator[Page]:
        yield Page((), None, last=True)

    async def fields(self, call: Call, kind: str) -> Sequence[FieldInfo]:
        return ()


def _document(kind: str, data: Mapping[str, Any], related: tuple[Document, ...] = ()) -> Document:
    return Document(kind=kind, id=data["id"], version=str(data["version"]), data=data, related=related, url=data["url"])


@hookimpl
def lifecyclehub_connectors() -> list[Connector]:
    """Give the connector."""
    return [Fat()]
