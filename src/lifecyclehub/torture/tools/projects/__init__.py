"""The project tool."""

from __future__ import annotations

from lifecyclehub.connector.roles import AddComment, CreateProject, CreateTask
from lifecyclehub.torture.tools import Character, Tool, about, kind, make, tool


class Projects(Tool):
    """Projects, their tasks, their comments."""


def projects(character: Character) -> Tool:
    """Make a project tool of a character; only whole projects are made by jobs."""
    lesser = "marker" if character.once == "job" else character.once
    kinds = (
        kind(character, "projects.project", "project"),
        kind(character, "projects.task"),
        kind(character, "projects.comment"),
    )
    into = ("projects.project", "project")
    actions = (
        make("create_project", CreateProject, "projects.project", character.once),
        make("create_task", CreateTask, "projects.task", lesser, target=into),
        make("add_comment", AddComment, "projects.comment", lesser, target=into),
    )
    return tool(Projects, about("projects", "project", kinds, actions))
