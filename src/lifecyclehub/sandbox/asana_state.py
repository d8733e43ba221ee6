"""What the simulated Asana knows: people, templates, projects, tasks, stories, jobs, webhooks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lifecyclehub.sandbox.asana_shape import Gids, refusal, unknown

Record = dict[str, Any]


def stamp(moment: datetime) -> str:
    """Write a time as Asana does: ISO 8601 with milliseconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def bare(record: Mapping[str, Any]) -> Record:
    """Give a record as events name it: id and type only."""
    return {"gid": record["gid"], "resource_type": record["resource_type"]}


def address(project: Mapping[str, Any]) -> Record:
    """Give what an act tells of a project: its id, and where a person opens it."""
    return {"id": project["gid"], "url": project["permalink_url"]}


@dataclass(slots=True)
class Shelf:
    """All records of one type, in the order in which they were made."""

    what: str
    records: dict[str, Record] = field(default_factory=dict)
    made: dict[str, float] = field(default_factory=dict)
    bin: dict[str, Record] = field(default_factory=dict)

    def put(self, record: Record) -> Record:
        """Keep a new record."""
        self.records[record["gid"]] = record
        self.made[record["gid"]] = time.monotonic()
        return record

    def get(self, gid: str) -> Record:
        """Give a record. Raises Asana's error for an unknown one."""
        if gid not in self.records:
            raise unknown(self.what, gid)
        return self.records[gid]

    def drop(self, gid: str) -> Record:
        """Delete a record; for a while it can be taken out of the bin."""
        record = self.bin[gid] = self.get(gid)
        del self.records[gid]
        return record

    def restore(self, gid: str) -> Record:
        """Take a record out of the bin."""
        record = self.records[gid] = self.bin.pop(gid)
        return record

    def visible(self, lag_s: float, keep: Callable[[Record], bool] = lambda _: True) -> list[Record]:
        """Give those that a list shows: not the ones made within the lag."""
        oldest = time.monotonic() - lag_s
        return [one for gid, one in self.records.items() if self.made[gid] <= oldest and keep(one)]


class State:
    """One organization with one team. Nothing of it survives the process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now, self._gids = now, Gids()
        self.workspace = self._named("workspace", "Northwind Atelier")
        self.team = self._named("team", "Client work")
        self.people: dict[str, Record] = {}
        self.robot = self.add_person("Lifecycle Hub", "hub@northwind-atelier.example")
        self.person = self.add_person("Ines Okafor", "ines@northwind-atelier.example")
        self.add_person("Tomas Lind", "tomas@northwind-atelier.example")
        self.projects, self.tasks, self.stories = Shelf("project"), Shelf("task"), Shelf("story")
        self.templates, self.jobs, self.webhooks = Shelf("project_template"), Shelf("job"), Shelf("webhook")
        self.custom_fields, self.secrets = Shelf("custom_field"), dict[str, bytes]()
        self.template_tasks: dict[str, tuple[str, ...]] = {}
        self.add_custom_field("Budget code", ("Standard", "Rush"))

    def _named(self, resource_type: str, name: str) -> Record:
        return {"gid": self._gids.new(), "resource_type": resource_type, "name": name}

    def stamp(self) -> str:
        """Give the time as Asana writes it."""
        return stamp(self._now())

    def add_person(self, name: str, email: str) -> Record:
        """Add a member of the workspace."""
        person = {**self._named("user", name), "email": email, "workspaces": [self.workspace]}
        self.people[person["gid"]] = person
        return person

    def somebody(self, said: str, member: str) -> Record:
        """Find a person by "me", e-mail address or id. Raises Asana's error for anybody else."""
        if said == "me":
            return self.robot
        for person in self.people.values():
            if not person["workspaces"]:
                continue
            if said == person["gid"] or said.lower() == person["email"].lower():
                return person
        raise refusal(400, f"{member}: Not a user in Organization: {said}")

    def add_custom_field(self, name: str, options: Iterable[str]) -> Record:
        """Add a field with a choice, as an admin does."""
        choices = [{**self._named("enum_option", option), "enabled": True} for option in options]
        return self.custom_fields.put({**self._named("custom_field", name), "resource_subtype": "enum", "enum_options": choices})

    def add_template(self, name: str, tasks: Iterable[str]) -> Record:
        """Add a project template with these tasks."""
        template = {
            **self._named("project_template", name),
            "description": "",
            "public": True,
            "owner": self.person,
            "team": self.team,
            "requested_dates": [{"gid": "1", "name": "Start Date", "description": "When the work begins."}],
            "requested_roles": [],
        }
        self.template_tasks[template["gid"]] = tuple(tasks)
        return self.templates.put(template)

    def add_project(self, name: str, owner: Record, **more: Any) -> Record:
        """Make a project."""
        project = self._named("project", name)
        moment = self.stamp()
        address = f"https://app.asana.com/1/{self.workspace['gid']}/project/{project['gid']}"
        return self.projects.put(
            project
            | {"notes": "", "archived": False, "color": "light-green", "default_view": "list"}
            | {"completed": False, "completed_at": None, "created_at": moment, "modified_at": moment}
            | {"due_on": None, "start_on": None, "owner": owner, "team": self.team, "workspace": self.workspace}
            | {"members": [owner], "followers": [owner], "custom_fields": [], "custom_field_settings": []}
            | {"privacy_setting": "public_to_workspace", "permalink_url": address}
            | more
        )

    def add_task(self, name: str, projects: list[Record], creator: Record, **more: Any) -> Record:
        """Make a task, with the story that Asana writes about it."""
        task = {**self._named("task", name), "resource_subtype": "default_task"}
        moment = self.stamp()
        address = f"https://app.asana.com/1/{self.workspace['gid']}/task/{task['gid']}"
        self.tasks.put(
            task
            | {"notes": "", "assignee": None, "completed": False, "completed_at": None, "created_at": moment}
            | {"modified_at": moment, "due_on": None, "start_on": None, "workspace": self.workspace, "projects": projects}
            | {"followers": [creator], "tags": [], "permalink_url": address}
            | more
        )
        for project in projects:
            self.add_story(task["gid"], creator, f"added to {project['name']}", "added_to_project")
        return self.tasks.get(task["gid"])

    def add_story(self, task: str, creator: Record, text: str, subtype: str = "comment_added") -> Record:
        """Write a story on a task: a comment, or what Asana says by itself."""
        story = {"gid": self._gids.new(), "resource_type": "story", "resource_subtype": subtype}
        kind = "comment" if subtype == "comment_added" else "system"
        target = self.tasks.get(task)
        return self.stories.put(
            story | {"type": kind, "text": text, "created_at": self.stamp(), "created_by": creator, "target": target}
        )

    def add_job(self) -> Record:
        """Queue a job."""
        job = {"gid": self._gids.new(), "resource_type": "job", "resource_subtype": "instantiate_project"}
        return self.jobs.put({**job, "status": "not_started"})

    def add_webhook(self, resource: Record, target: str, filters: list[Record]) -> Record:
        """Make a webhook with a secret of its own."""
        hook: Record = {"gid": self._gids.new(), "resource_type": "webhook", "active": False, "resource": resource}
        self.secrets[hook["gid"]] = secrets.token_hex(32).encode()
        return hook | {"target": target, "created_at": self.stamp(), "filters": filters, "delivery_retry_count": 0}
