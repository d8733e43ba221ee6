"""A vendor's document as notices and snapshots keep it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lifecyclehub.messages import Document


def document_as_json(document: Document) -> dict[str, Any]:
    """Write a document, without what came along, as a snapshot keeps it."""
    kept = {
        "kind": document.kind,
        "id": document.id,
        "account": document.account,
        "version": document.version,
        "changed_at": document.changed_at,
        "data": document.data,
        "marker": document.marker,
        "url": document.url,
    }
    return kept | {"merged": list(document.merged)} if document.merged else kept


def whole_document_as_json(document: Document) -> dict[str, Any]:
    """Write a document with what came along, as a notice keeps it."""
    return document_as_json(document) | {"related": [whole_document_as_json(one) for one in document.related]}


def document_from_json(kept: Mapping[str, Any]) -> Document:
    """Read a kept document, or one that is just about to be kept."""
    changed = kept.get("changed_at")
    return Document(
        kind=kept["kind"],
        id=kept["id"],
        account=kept.get("account"),
        version=kept.get("version"),
        changed_at=datetime.fromisoformat(changed) if isinstance(changed, str) else changed,
        data=kept["data"],
        related=tuple(document_from_json(one) for one in kept.get("related", ())),
        marker=kept.get("marker"),
        url=kept.get("url"),
        merged=tuple(kept.get("merged") or ()),
    )
