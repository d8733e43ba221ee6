"""What lifecyclehub does in Asana: start and rename projects, put tasks into them, comment on tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lifecyclehub.connector import Action, Call, Marker, Natural, usual_judgement
from lifecyclehub.connector.roles import AddComment, CreateProject, CreateTask, RenameProject
from lifecyclehub.errors import ConfigurationError, Forbidden, NotOurJson, RecordGone
from lifecyclehub.messages import Accepted, Done, Json, Key, Outcome, Refused, Reply, Request, Sighting, Unknown
from lifecyclehub_asana.api import (
    PROJECT,
    PROJECT_FIELDS,
    STORY,
    TASK,
    TASK_FIELDS,
    complaint,
    fetched,
    is_gid,
    path,
    project_document,
    project_lists,
    record,
    sighting,
    task_document,
)

# Asana's lists are read from its own tables, not from a search index; a minute leaves room for a slow replica.
LIST_LAG_S = 60.0
# A project from a template is made by a queued job; it carries its name as soon as the job has begun.
JOB_LAG_S = 300.0

# Asana's complaints begin with the member that they are about; these say who does or owns it.
ASSIGNING = ("assignee: ", "owner: ")

INSTANTIATE = "instantiateProject"
# All that instantiateProject takes: notes, dates and owner are the template's business.
TEMPLATE_MEMBERS = ("name", "team", "public", "privacy_setting", "is_strict", "requested_dates", "requested_roles")


def judged(reply: Reply, *, creates: bool) -> Outcome | None:
    """Judge a reply that is no success, in Asana's own words; None for a 2xx."""
    outcome = usual_judgement(reply, creates=creates)
    if outcome is None:
        return None
    said = complaint(reply)
    if isinstance(outcome, Refused) and said.startswith(ASSIGNING):
        outcome = replace(outcome, owner=True)
    return replace(outcome, reason=f"status {reply.status}: {said}")


def made(reply: Reply) -> dict[str, Any] | Unknown:
    """Give the record of a 2xx; Unknown where it has none, for example for a log-in page."""
    try:
        data = reply.json()["data"]
    except (NotOurJson, LookupError, TypeError) as error:
        return Unknown(f"status {reply.status} without a record: {error}")
    if not isinstance(data, dict) or not is_gid(data.get("gid")):
        return Unknown(f"status {reply.status} without a gid: {complaint(reply)}")
    return data


def marked(text: str | None, marker: str) -> str:
    """Put our marker under a text."""
    return f"{text}\n\n{marker}" if text else marker


def _asked_back(fields: str) -> tuple[tuple[str, str], ...]:
    return (("opt_fields", fields),)


class CreateProjectAction(Action[CreateProject]):
    """Start a project: blank, or from a template through one of Asana's jobs."""

    name = "create_project"
    input = CreateProject
    creates = PROJECT
    once = Marker(field="data.notes or data.name", lag_s=JOB_LAG_S)

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        if v.template:
            return self._from_template(v.template, body, key)
        data = {**body, "notes": marked(body.get("notes"), key.marker)}
        # Asana takes a start only together with a due date that is another day.
        if not data.get("due_on") or data.get("start_on") == data["due_on"]:
            data.pop("start_on", None)
        data.pop("requested_dates", None)
        return Request(method="POST", path=path("projects"), query=_asked_back(PROJECT_FIELDS), json={"data": data})

    def _from_template(self, template: str, body: Json, key: Key) -> Request:
        # Not strict: a date that the template asks for and nobody gave is today, instead of a refusal.
        data = {"is_strict": False, **{name: body[name] for name in TEMPLATE_MEMBERS if name in body}}
        data["name"] = f"{data['name']} {key.marker}"
        return Request(
            method="POST",
            path=path("project_templates", template, INSTANTIATE),
            query=_asked_back("status,new_project,new_project.name"),
            json={"data": data},
        )

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if (outcome := judged(reply, creates=True)) is not None:
            return outcome
        data = made(reply)
        if isinstance(data, Unknown):
            return data
        if request.path.endswith(f"/{INSTANTIATE}"):
            return Accepted(data["gid"])
        document = project_document(data)
        return Done(record_id=document.id, url=document.url, document=document)

    async def check(self, call: Call, handle: str) -> Outcome:
        where = path("jobs", handle)
        try:
            reply = await call.send(Request(method="GET", path=where, query=_asked_back("status,new_project,new_project.name")))
            job = record(reply, f"GET {where}")
        except (RecordGone, Forbidden) as error:
            return Unknown(f"Asana tells nothing about its job {handle}: {error}")
        project = job.get("new_project")
        gid = project.get("gid") if isinstance(project, dict) else None
        match job.get("status"):
            case "not_started" | "in_progress":
                return Accepted(handle)
            case "succeeded" if is_gid(gid):
                return await self._finished(call, str(gid))
            case "failed" if gid is None:
                return Refused(f"Asana's job {handle} failed: look at the template, it may have been changed or deleted")
        return Unknown(f"Asana's job {handle} says {job.get('status')!r} about the project {gid}")

    async def _finished(self, call: Call, gid: str) -> Outcome:
        try:
            document = await fetched(call, PROJECT, gid)
        except (RecordGone, Forbidden):
            return Done(record_id=gid)
        return Done(record_id=gid, url=document.url, document=document)

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        queries = project_lists(call.account, "name,notes,permalink_url")
        return await sighting(call, path("projects"), queries, key.marker, ("name", "notes"))


class RenameProjectAction(Action[RenameProject]):
    """Give a project its final name; doing it again changes nothing."""

    name = "rename_project"
    input = RenameProject
    target = PROJECT
    target_field = "project"
    once = Natural()

    def render(self, v: RenameProject, body: Json, key: Key) -> Request:
        return Request(
            method="PUT", path=path("projects", v.project), query=_asked_back(PROJECT_FIELDS), json={"data": dict(body)}
        )

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if (outcome := judged(reply, creates=False)) is not None:
            return outcome
        data = made(reply)
        if isinstance(data, Unknown):
            return data
        document = project_document(data)
        return Done(record_id=document.id, url=document.url, document=document)


class CreateTaskAction(Action[CreateTask]):
    """Put a task into a project."""

    name = "create_task"
    input = CreateTask
    creates = TASK
    target = PROJECT
    target_field = "project"
    once = Marker(field="data.notes", lag_s=LIST_LAG_S)

    def render(self, v: CreateTask, body: Json, key: Key) -> Request:
        data = {**body, "projects": [v.project], "notes": marked(body.get("notes"), key.marker)}
        return Request(method="POST", path=path("tasks"), query=_asked_back(TASK_FIELDS), json={"data": data})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if (outcome := judged(reply, creates=True)) is not None:
            return outcome
        data = made(reply)
        if isinstance(data, Unknown):
            return data
        document = task_document(data)
        return Done(record_id=document.id, url=document.url, document=document)

    async def find(self, call: Call, v: CreateTask, key: Key) -> Sighting:
        # Without completed_since Asana lists completed tasks too.
        queries = ({"project": v.project, "opt_fields": "name,notes,permalink_url"},)
        return await sighting(call, path("tasks"), queries, key.marker, ("notes",))


class AddCommentAction(Action[AddComment]):
    """Comment on a task: Asana has no comments on projects."""

    name = "add_comment"
    input = AddComment
    creates = STORY
    target = TASK
    target_field = "task"
    once = Marker(field="data.text", lag_s=LIST_LAG_S)

    def render(self, v: AddComment, body: Json, key: Key) -> Request:
        data = {**body, "text": marked(body.get("text"), key.marker)}
        return Request(method="POST", path=self._stories(v), json={"data": data})

    def judge(self, reply: Reply, request: Request) -> Outcome:
        if (outcome := judged(reply, creates=True)) is not None:
            return outcome
        data = made(reply)
        return data if isinstance(data, Unknown) else Done(record_id=data["gid"])

    async def find(self, call: Call, v: AddComment, key: Key) -> Sighting:
        queries = ({"opt_fields": "text"},)
        return await sighting(call, self._stories(v), queries, key.marker, ("text",))

    @staticmethod
    def _stories(v: AddComment) -> str:
        if v.task is None:
            raise ConfigurationError(
                "Asana has comments on tasks only, and no task was named",
                where="asana.add_comment: task",
                mend="Let the handoff make a task first (create_task) and comment on that one.",
            )
        return path("tasks", v.task, "stories")


ACTIONS: tuple[Action[Any], ...] = (CreateProjectAction(), RenameProjectAction(), CreateTaskAction(), AddCommentAction())
