"""The fields of Asana's records, for people who map them."""

from __future__ import annotations

from typing import Any

from lifecyclehub.connector import FieldInfo
from lifecyclehub_asana.api import PROJECT, TASK, USER

_COMMON = (
    FieldInfo(path="name", label="Name", type="text"),
    FieldInfo(path="notes", label="Description", type="text"),
    FieldInfo(path="completed", label="Completed", type="flag"),
    FieldInfo(path="completed_at", label="Completed at", type="instant"),
    FieldInfo(path="created_at", label="Created at", type="instant"),
    FieldInfo(path="modified_at", label="Modified at", type="instant"),
    FieldInfo(path="due_on", label="Due date", type="date"),
    FieldInfo(path="permalink_url", label="Address", type="text"),
    FieldInfo(path="workspace.gid", label="Workspace", type="text"),
    FieldInfo(path="workspace.name", label="Workspace's name", type="text"),
)

FIELDS: dict[str, tuple[FieldInfo, ...]] = {
    PROJECT: (
        *_COMMON,
        FieldInfo(path="archived", label="Archived", type="flag"),
        FieldInfo(path="start_on", label="Start date", type="date"),
        FieldInfo(path="owner.gid", label="Owner", type="text"),
        FieldInfo(path="owner.name", label="Owner's name", type="text"),
        FieldInfo(path="owner.email", label="Owner's e-mail", type="email"),
        FieldInfo(path="team.gid", label="Team", type="text"),
        FieldInfo(path="team.name", label="Team's name", type="text"),
    ),
    TASK: (
        *_COMMON,
        FieldInfo(path="assignee.gid", label="Assignee", type="text"),
        FieldInfo(path="assignee.name", label="Assignee's name", type="text"),
        FieldInfo(path="assignee.email", label="Assignee's e-mail", type="email"),
    ),
    USER: (
        FieldInfo(path="name", label="Name", type="text"),
        FieldInfo(path="email", label="E-mail", type="email"),
    ),
}

TYPES = {"number": "number", "date": "date", "enum": "choice", "multi_enum": "choice", "people": "text", "text": "text"}


def custom_field(row: dict[str, Any]) -> FieldInfo:
    """Describe a custom field. Records carry them as a list, hence the filter in the path."""
    options = tuple((one["gid"], one["name"]) for one in row.get("enum_options") or () if one.get("enabled", True))
    return FieldInfo(
        path=f"custom_fields[?gid=='{row['gid']}'].display_value | [0]",
        label=row.get("name") or row["gid"],
        type=TYPES.get(row.get("resource_subtype") or "text", "text"),
        options=options,
    )
