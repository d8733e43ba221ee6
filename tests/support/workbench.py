"""A plain project tool: where effects of other tools' news can be counted."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx
import respx

from lifecyclehub.connector import (
    CONTRACT_VERSION,
    About,
    Action,
    Auth,
    Call,
    Host,
    Kind,
    NativeKey,
    usual_judgement,
)
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import RecordGone
from lifecyclehub.jsonio import loads
from lifecyclehub.messages import Document, Done, Json, Key, Outcome, Ref, Reply, Request
from tests.support.contract_world import ThrowAway, Vendor, said

WON_DEAL_STARTS_PROJECT = """
format = 1
[[handoff]]
id = "won-deal-starts-project"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"
  [[handoff.effects]]
  name = "project"
  do = "project.create_project"
    [handoff.effects.with]
    name = { from = "deal.title", required = true }
"""


WON_DEAL_IS_NOTED = """
format = 1
[[handoff]]
id = "won-deal-is-noted"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"
  [[handoff.effects]]
  name = "note"
  do = "crm.add_note"
    [handoff.effects.with]
    deal = { from = "links.deal", required = true }
    text = { from = "concat('Won: ', deal.title)", required = true }
"""
MAKES_PROJECTS = """
    format = 1
    action = "create_project"
    [body]
    "title" = { from = "name", required = true }
"""


def tells_deals(record: str) -> str:
    """Give the mapping of a record that is a deal: a name, new or won, and when."""
    return f"""
        format = 1
        record = "{record}"
        [fields]
        "deal.title"  = {{ from = "name", required = true }}
        "deal.status" = {{ from = "status", lookup = "status", required = true }}
        "deal.won_at" = {{ from = "won_at", convert = "epoch_s" }}
        [lookup.status]
        new = "open"
        won = "won"
    """


class OpenProject(Action[CreateProject]):
    name = "create_project"
    input = CreateProject
    once = NativeKey("Once-Key", window_s=86_400, marker_after=False)
    creates = "workbench.project"

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        return Request(method="POST", path="/projects", headers=(("Once-Key", key.idempotency),), json=body)

    def judge(self, reply: Reply, request: Request) -> Outcome:
        return usual_judgement(reply, creates=True) or Done(record_id=reply.json()["id"], url=reply.json()["url"])


class Workbench(ThrowAway):
    about = About(
        id="workbench",
        name="Workbench",
        contract=CONTRACT_VERSION,
        roles=("project",),
        kinds=(Kind(id="workbench.project", fills="project", poll_s=3600),),
        doors=(),
        auths=(Auth(name="token", kind="bearer", label="Token", secrets=("token",)),),
        hosts=(Host(name="api", base="https://api.workbench.example"),),
        actions=(OpenProject(),),
    )
    mappings: ClassVar = {
        "project.toml": """
            format = 1
            record = "workbench.project"
            [fields]
            "project.title" = { from = "name", required = true }
        """,
        "create_project.toml": """
            format = 1
            action = "create_project"
            [body]
            "name" = { from = "name", required = true }
        """,
    }

    async def fetch(self, call: Call, ref: Ref) -> Document:
        raise RecordGone(ref.id)


class WorkbenchVendor(Vendor):
    """Folds requests with the same key, as it promises."""

    host = "api.workbench.example"

    def __init__(self, router: respx.MockRouter) -> None:
        super().__init__(router)
        self.answers: dict[str, dict[str, Any]] = {}
        self.on("POST", "/projects", self.create)

    async def create(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["once-key"]
        if key in self.answers:
            return said(self.answers[key], 201)
        made = {"id": f"w{len(self.acts) + 1}", "name": loads(request.content)["name"]}
        self.answers[key] = made | {"url": f"https://workbench.example/{made['id']}"}
        return await self.acted(made, 201, self.answers[key])

    @property
    def names(self) -> list[str]:
        """The names of all projects that were made, in order."""
        return [act["name"] for act in self.acts]
