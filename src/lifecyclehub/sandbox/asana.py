"""A simulated Asana: its API for projects, templates, tasks, stories, jobs and webhooks, and what people do there."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.messages import marker_in
from lifecyclehub.sandbox.asana_hooks import Webhooks
from lifecyclehub.sandbox.asana_people import People
from lifecyclehub.sandbox.asana_shape import (
    PROJECT_MEMBERS,
    STORY_MEMBERS,
    TASK_MEMBERS,
    TEMPLATE_MEMBERS,
    WEBHOOK_MEMBERS,
    body_of,
    chosen,
    listed,
    refusal,
    unknown,
)
from lifecyclehub.sandbox.asana_state import Record, Shelf, State, address, bare
from lifecyclehub.sandbox.tool import Handler, Hook, Tool

API = "/api/1.0"
TOKEN_PATH = "/-/oauth_token"


class AsanaTool(Tool):
    """One organization of Asana's. `job_delay_s`: how long a job takes to make a project from a template."""

    name = "asana"
    auth = "token"
    signing_secret: str | None = None  # every webhook has its own, made in its handshake

    def __init__(self, home: Path, *, job_delay_s: float = 0.3) -> None:
        super().__init__(home)
        self.state = State(self.now)
        self._hooks = Webhooks(self.state, self.ring)
        self._people = People(self.state)
        self.job_delay_s = job_delay_s
        self.credentials = {"token": f"1/{secrets.token_hex(8)}:{secrets.token_hex(16)}"}
        self.oauth = {name: secrets.token_hex(12) for name in ("client_id", "client_secret", "refresh_token")}
        self._access: set[str] = set()
        self._jobs: set[asyncio.Task[None]] = set()

    @property
    def account_id(self) -> str:
        """The workspace's gid."""
        return str(self.state.workspace["gid"])

    def settings(self) -> dict[str, str]:
        """Give the settings of a connection to this tool."""
        return {
            "self_hosted": "yes",
            "base_url.api": self.base_url() + API,
            "base_url.auth": self.base_url(),
            "team": self.state.team["gid"],
            # Quicker than Asana, so that demo and tests are: jobs are over and lists complete within a second.
            "lag_s": "1",
            "server_timeout_s": "2",
        }

    async def stop(self) -> None:
        for runner in self._jobs:
            runner.cancel()
        await super().stop()

    def routes(self) -> list[tuple[str, str, Handler]]:
        calls: list[tuple[str, str, Handler]] = [
            *self._people.routes(),
            ("GET", "/workspaces/{gid}", self._workspace),
            ("GET", "/workspaces/{gid}/custom_fields", self._custom_fields),
            ("GET", "/projects", self._list_projects),
            ("POST", "/projects", self._create_project),
            ("GET", "/projects/{gid}", self._reader(self.state.projects)),
            ("PUT", "/projects/{gid}", self._update_project),
            ("DELETE", "/projects/{gid}", self._delete_project),
            ("GET", "/project_templates", self._list_templates),
            ("GET", "/project_templates/{gid}", self._reader(self.state.templates)),
            ("POST", "/project_templates/{gid}/instantiateProject", self._instantiate),
            ("GET", "/jobs/{gid}", self._reader(self.state.jobs)),
            ("GET", "/tasks", self._list_tasks),
            ("POST", "/tasks", self._create_task),
            ("GET", "/tasks/{gid}", self._reader(self.state.tasks)),
            ("GET", "/tasks/{gid}/stories", self._list_stories),
            ("POST", "/tasks/{gid}/stories", self._create_story),
            ("GET", "/stories/{gid}", self._reader(self.state.stories)),
            ("GET", "/webhooks", self._list_webhooks),
            ("POST", "/webhooks", self._create_webhook),
            ("GET", "/webhooks/{gid}", self._reader(self.state.webhooks)),
            ("DELETE", "/webhooks/{gid}", self._delete_webhook),
        ]
        return [("POST", TOKEN_PATH, self._token), *((method, API + path, handler) for method, path, handler in calls)]

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        acts: tuple[Callable[..., Awaitable[Any]], ...] = (
            self.complete_project,
            self.reopen_project,
            self.archive_project,
            self.rename_project_by_hand,
            self.create_project_by_hand,
            self.copy_project,
            self.delete_project,
            self.restore_project,
            self.add_template,
            self.heartbeat,
            *self._people.acts(),
        )
        return {"list": self.everything, **{act.__name__: act for act in acts}}

    def check_auth(self, request: Request) -> None:
        if request.url.path == TOKEN_PATH:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or (token != self.credentials["token"] and token not in self._access):
            raise refusal(401, "Not Authorized")

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        if any(form.get(name) != value for name, value in self.oauth.items()) or form.get("grant_type") != "refresh_token":
            return JSONResponse({"error": "invalid_grant", "error_description": "The refresh token is invalid."}, 400)
        token = secrets.token_hex(16)
        self._access.add(token)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": 3600})

    # --- reading ----------------------------------------------------------------------------------------------------

    def _reader(self, shelf: Shelf) -> Handler:
        async def read(request: Request) -> Response:
            return JSONResponse({"data": chosen(shelf.get(request.path_params["gid"]), request)})

        return read

    async def _workspace(self, request: Request) -> Response:
        self._known_workspace(request.path_params["gid"])
        whole = {**self.state.workspace, "is_organization": True, "email_domains": ["northwind-atelier.example"]}
        return JSONResponse({"data": chosen(whole, request)})

    async def _custom_fields(self, request: Request) -> Response:
        self._known_workspace(request.path_params["gid"])
        return JSONResponse(listed(self.state.custom_fields.visible(0), request))

    async def _list_projects(self, request: Request) -> Response:
        asked = request.query_params
        if "workspace" not in asked and "team" not in asked:
            raise refusal(400, "You should specify one of workspace, team")
        self._known_workspace(asked.get("workspace", self.account_id))
        archived = asked.get("archived")
        if archived not in (None, "true", "false"):
            raise refusal(400, "archived: Not a boolean")
        rows = self.state.projects.visible(
            self.misbehaviour.lag_s, lambda one: archived is None or one["archived"] is (archived == "true")
        )
        return JSONResponse(listed(rows, request))

    async def _list_templates(self, request: Request) -> Response:
        return JSONResponse(listed(self.state.templates.visible(0), request))

    async def _list_tasks(self, request: Request) -> Response:
        project = request.query_params.get("project")
        if project is None:
            raise refusal(400, "You must specify exactly one of project, tag, section, user task list, or assignee + workspace")
        self.state.projects.get(project)
        rows = self.state.tasks.visible(
            self.misbehaviour.lag_s, lambda task: any(one["gid"] == project for one in task["projects"])
        )
        return JSONResponse(listed(rows, request))

    async def _list_stories(self, request: Request) -> Response:
        task = self.state.tasks.get(request.path_params["gid"])["gid"]
        rows = self.state.stories.visible(self.misbehaviour.lag_s, lambda story: bool(story["target"]["gid"] == task))
        return JSONResponse(listed(rows, request))

    def _known_workspace(self, gid: str) -> None:
        if gid != self.account_id:
            raise unknown("workspace", gid)

    # --- projects ---------------------------------------------------------------------------------------------------

    async def _create_project(self, request: Request) -> Response:
        data = await body_of(request, PROJECT_MEMBERS, ("name", "workspace", "team"))
        self._known_workspace(data.pop("workspace"))
        self._known_team(data.pop("team"))
        start, due = data.get("start_on"), data.get("due_on")
        if start and (not due or start >= due):
            raise refusal(400, "start_on: due_on must be present, and a later day")
        owner = self.state.somebody(data.pop("owner", None) or "me", "owner")
        project = self._started(data.pop("name"), owner, by="api", **data)
        return JSONResponse({"data": chosen(project, request)}, 201)

    def _known_team(self, gid: str) -> None:
        if gid != self.state.team["gid"]:
            raise refusal(400, f"team: Unknown object: {gid}")

    def _started(self, name: str, owner: Record, *, by: str, template: str | None = None, **more: Any) -> Record:
        project = self.state.add_project(name, owner, **more)
        marker = marker_in(name, project["notes"])
        facts = {"template": template} if template else {}
        self.history.add("created", kind="project", id=project["gid"], name=name, marker=marker, by=by, **facts)
        self._hooks.tell(self._hooks.event(project, "added", self._who(by), parent=bare(self.state.workspace)))
        return project

    async def _update_project(self, request: Request) -> Response:
        members = {name: check for name, check in PROJECT_MEMBERS.items() if name not in ("workspace", "followers")}
        data = await body_of(request, members)
        project = self.state.projects.get(request.path_params["gid"])
        self._change(project, data, by="api")
        return JSONResponse({"data": chosen(project, request)})

    def _change(self, project: Record, data: Record, *, by: str) -> None:
        news = {name: value for name, value in data.items() if project.get(name) != value}
        if not news:
            return
        project |= {**news, "modified_at": self.state.stamp()}
        self.history.add("changed", kind="project", id=project["gid"], by=by, fields=sorted(news), name=project["name"])
        change = [{"field": name, "action": "changed"} for name in news if name != "completed_at"]
        self._hooks.tell(*(self._hooks.event(project, "changed", self._who(by), change=one) for one in change))

    async def _delete_project(self, request: Request) -> Response:
        self._drop(request.path_params["gid"], by="api")
        return JSONResponse({"data": {}})

    def _drop(self, gid: str, *, by: str) -> None:
        project = self.state.projects.drop(gid)
        self.history.add("deleted", kind="project", id=gid, by=by)
        self._hooks.tell(self._hooks.event(project, "deleted", self._who(by)))

    async def _instantiate(self, request: Request) -> Response:
        template = self.state.templates.get(request.path_params["gid"])
        data = await body_of(request, TEMPLATE_MEMBERS, ("name",))
        self._known_team(data.get("team") or self.state.team["gid"])
        dates = {one.get("gid"): one.get("value") for one in data.get("requested_dates") or ()}
        offered = {one["gid"] for one in template["requested_dates"]}
        if not set(dates) <= offered:
            raise refusal(400, f"requested_dates: Unknown date variable: {sorted(set(dates) - offered)}")
        if data.get("is_strict") and offered - set(dates):
            raise refusal(422, "requested_dates: Missing input")
        job = self.state.add_job()
        self.history.add("queued", kind="job", id=job["gid"], marker=marker_in(data["name"]), by="api")
        runner = asyncio.create_task(self._run(job, template, data["name"], dates.get("1")))
        self._jobs.add(runner)
        runner.add_done_callback(self._jobs.discard)
        return JSONResponse({"data": chosen(job, request)}, 201)

    async def _run(self, job: Record, template: Record, name: str, start: str | None) -> None:
        job["status"] = "in_progress"
        await asyncio.sleep(self.job_delay_s)
        project = self._started(name, self.state.robot, by="api", template=template["gid"], start_on=start)
        for title in self.state.template_tasks[template["gid"]]:
            task = self.state.add_task(title, [project], self.state.robot)
            self.history.add(
                "created", kind="task", id=task["gid"], name=title, marker=None, by="template", project=project["gid"]
            )
        job |= {"status": "succeeded", "new_project": project}

    # --- tasks and stories ------------------------------------------------------------------------------------------

    async def _create_task(self, request: Request) -> Response:
        data = await body_of(request, TASK_MEMBERS, ("name",))
        if not data.get("projects") and not data.get("workspace"):
            raise refusal(400, "workspace: Missing input")
        data.pop("workspace", None)
        projects = [self._project_named(gid) for gid in data.pop("projects", ())]
        if data.get("assignee"):
            data["assignee"] = self.state.somebody(data["assignee"], "assignee")
        task = self.state.add_task(data.pop("name"), projects, self.state.robot, **data)
        marker = marker_in(task["name"], task["notes"])
        facts = {"project": projects[0]["gid"] if projects else None, "name": task["name"]}
        self.history.add("created", kind="task", id=task["gid"], marker=marker, by="api", **facts)
        self._hooks.tell(*(self._hooks.event(task, "added", self.state.robot, parent=bare(project)) for project in projects))
        return JSONResponse({"data": chosen(task, request)}, 201)

    def _project_named(self, gid: str) -> Record:
        if gid not in self.state.projects.records:
            raise refusal(400, f"projects: Unknown object: {gid}")
        return self.state.projects.get(gid)

    async def _create_story(self, request: Request) -> Response:
        task = self.state.tasks.get(request.path_params["gid"])
        data = await body_of(request, STORY_MEMBERS)
        text = data.get("text") or data.get("html_text")
        if not text:
            raise refusal(400, "text: Missing input")
        story = self.state.add_story(task["gid"], self.state.robot, text)
        task["modified_at"] = self.state.stamp()
        facts = {"story": story["gid"], "marker": marker_in(text), "text": text}
        self.history.add("commented", kind="task", id=task["gid"], by="api", **facts)
        self._hooks.tell(self._hooks.event(story, "added", self.state.robot, parent=bare(task)))
        return JSONResponse({"data": chosen(story, request)}, 201)

    # --- webhooks ---------------------------------------------------------------------------------------------------

    async def _list_webhooks(self, request: Request) -> Response:
        if "workspace" not in request.query_params:
            raise refusal(400, "workspace: Missing input")
        self._known_workspace(request.query_params["workspace"])
        resource = request.query_params.get("resource")
        rows = self.state.webhooks.visible(0, lambda one: resource in (None, one["resource"]["gid"]))
        return JSONResponse(listed(rows, request))

    async def _create_webhook(self, request: Request) -> Response:
        hook, secret = await self._hooks.made(await body_of(request, WEBHOOK_MEMBERS, ("resource", "target")))
        self.history.add("created", kind="webhook", id=hook["gid"], name=hook["target"], marker=None, by="api")
        return JSONResponse({"data": chosen(hook, request), "X-Hook-Secret": secret}, 201)

    async def _delete_webhook(self, request: Request) -> Response:
        self.state.webhooks.drop(request.path_params["gid"])
        return JSONResponse({"data": {}})

    def answered(self, hook: Hook, status: int) -> None:
        self._hooks.answered(hook, status)

    def _who(self, by: str) -> Record:
        return self.state.robot if by == "api" else self.state.person

    # --- what people do ---------------------------------------------------------------------------------------------

    async def complete_project(self, project: str) -> Record:
        """Mark a project complete."""
        return self._changed_by_hand(project, completed=True, completed_at=self.state.stamp())

    async def reopen_project(self, project: str) -> Record:
        """Mark a project incomplete again."""
        return self._changed_by_hand(project, completed=False, completed_at=None)

    async def archive_project(self, project: str) -> Record:
        """Put a project into the archive."""
        return self._changed_by_hand(project, archived=True)

    async def rename_project_by_hand(self, project: str, name: str) -> Record:
        """Give a project another name."""
        return self._changed_by_hand(project, name=name)

    async def create_project_by_hand(self, name: str, notes: str = "") -> Record:
        """Start a project without the hub."""
        return address(self._started(name, self.state.person, by="person", notes=notes))

    async def copy_project(self, project: str) -> Record:
        """Duplicate a project as Asana's menu does: its notes come along."""
        original = self.state.projects.get(project)
        name = f"Duplicate of {original['name']}"
        return address(self._started(name, self.state.person, by="person", notes=original["notes"]))

    async def delete_project(self, project: str) -> Record:
        """Delete a project."""
        self._drop(project, by="person")
        return {"id": project}

    async def restore_project(self, project: str) -> Record:
        """Take a project out of the bin."""
        record = self.state.projects.restore(project)
        self._hooks.tell(self._hooks.event(record, "undeleted", self.state.person))
        return {"id": project}

    async def add_template(self, name: str, tasks: list[str] | None = None) -> Record:
        """Make a project template."""
        return {"id": self.state.add_template(name, tasks or ("Kick-off", "Hand over"))["gid"]}

    async def heartbeat(self) -> Record:
        """Send every webhook the empty delivery that Asana sends every eight hours."""
        return {"sent": self._hooks.beat()}

    async def everything(self) -> Record:
        """Show all projects with their tasks and the comments on these."""
        return {"projects": [self._told(project) for project in self.state.projects.records.values()]}

    def _told(self, project: Record) -> Record:
        tasks = [one for one in self.state.tasks.records.values() if project["gid"] in {at["gid"] for at in one["projects"]}]
        names = ("gid", "name", "notes", "completed", "archived", "due_on", "permalink_url")
        return {name: project[name] for name in names} | {"tasks": [self._told_task(task) for task in tasks]}

    def _told_task(self, task: Record) -> Record:
        comments = [
            story["text"]
            for story in self.state.stories.records.values()
            if story["target"]["gid"] == task["gid"] and story["type"] == "comment"
        ]
        assignee = task["assignee"]["email"] if task["assignee"] else None
        names = ("gid", "name", "notes", "due_on", "completed")
        return {name: task[name] for name in names} | {"assignee": assignee, "comments": comments}

    def _changed_by_hand(self, project: str, **data: Any) -> Record:
        record = self.state.projects.get(project)
        self._change(record, data, by="person")
        return address(record)
