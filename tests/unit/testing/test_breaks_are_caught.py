"""Whatever breaks the contract, the kit names it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import Kind, Signature, Timestamp
from lifecyclehub.messages import Delivery, Notice
from lifecyclehub.registry import default_mappings
from lifecyclehub.signatures import verify
from lifecyclehub.testing import defaults, deliveries, description, records
from tests.support.tiny import (
    PROJECT,
    ROOT,
    Tiny,
    case,
    changed_file,
    reading,
    signing,
    with_about,
)

# --- deliveries ------------------------------------------------------------------------------------------------------


def test_a_signature_over_something_else_is_named() -> None:
    assert "does not verify" in deliveries.signature_problems(signing(parts=("body", "timestamp")), case())[0]


def test_a_signature_that_leaves_the_body_out_is_named() -> None:
    connector = signing(parts=("timestamp",))
    signed = case(headers={**case().headers, **_signed(connector)})
    assert deliveries.signature_problems(connector, signed) == []
    with_body = Tiny()
    assert deliveries.signature_problems(with_body, signed) != []


def _signed(connector: Tiny) -> dict[str, str]:
    from lifecyclehub.testing.__main__ import signed_headers

    return signed_headers(connector.about.doors[0], case())


def test_a_time_that_is_not_signed_is_named() -> None:
    connector = signing(parts=("body",))
    signed = case(headers={**case().headers, **_signed(connector)})
    problems = deliveries.signature_problems(connector, signed)
    assert any("renew an old delivery" in problem for problem in problems)
    assert "still verifies with another time" in problems


def test_a_tolerance_that_never_ends_would_be_a_changed_time_that_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lifecyclehub.testing.deliveries.verify", lambda *given, **named: verify(*given, **{**named, "now": case().received_at})
    )
    problems = deliveries.signature_problems(Tiny(), case())
    assert problems == [f"still verifies with a clock {way} than the tolerance allows" for way in ("later", "earlier")]


def test_a_forgery_that_passes_is_named() -> None:
    assert deliveries.signature_problems(Tiny(), case(refused="bad-signature")) == [
        "must be refused as bad-signature, but is accepted"
    ]


def test_a_composite_header_is_proven_by_its_own_member() -> None:
    spec = Timestamp(header="X-Tiny-Signature", unit="s", member="t")
    connector = with_about(
        doors=(
            replace(
                Tiny.about.doors[0],
                signature=Signature(header="X-Tiny-Signature", parts=("timestamp", b".", "body"), timestamp=spec, member="v1"),
            ),
        )
    )
    headers = _signed(connector)
    assert set(headers) == {"x-tiny-signature"}
    later = {name: value + ",v0=00" for name, value in headers.items()}
    assert deliveries.signature_problems(connector, case(headers=later)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"record_id": "8"}, "record_id is '7' instead of '8'"),
        ({"at": "2026-05-04T09:29:58Z"}, "at is"),
        ({"kind": "tiny.task"}, "kind is 'tiny.project' instead of 'tiny.task'"),
        ({"versoin": "1"}, "which a Notice does not have"),
        ({"key": "k"}, "key is None instead of 'k'"),
    ],
)
def test_a_notice_that_differs_is_named(change: dict[str, Any], named: str) -> None:
    first, second = case().notices
    problems = deliveries.notice_problems(Tiny(), case(notices=[{**first, **change}, second]))
    assert any(named in problem for problem in problems), problems


def test_notices_too_many_too_few_or_in_another_order_are_named() -> None:
    first, second = case().notices
    for notices in ([first], [first, second, second], [second, first]):
        assert deliveries.notice_problems(Tiny(), case(notices=notices)), notices


def test_a_reading_that_differs_the_second_time_is_named() -> None:
    readings = iter("78")
    connector = reading(lambda _delivery: [Notice(kind="tiny.project", record_id=next(readings))])
    problems = deliveries.notice_problems(connector, case(notices=[{"kind": "tiny.project", "record_id": "7"}]))
    assert problems == ["reading twice gave different notices"]


def test_a_reading_that_changes_the_delivery_is_named() -> None:
    def read(delivery: Delivery) -> list[Notice]:
        delivery.json["seen"] = True
        return []

    assert deliveries.notice_problems(reading(read), case(notices=[])) == ["reading changed the delivery"]


@pytest.mark.parametrize(
    ("read", "named"),
    [
        (lambda d: [Notice(kind="tiny.project", record_id=str(e.get("id"))) for e in d.json["events"]], "record_id is 'None'"),
        (lambda d: [Notice(kind="tiny.project", record_id=e["id"]) for e in d.json["events"]], "record_id is 7"),
        (lambda d: [Notice(kind=f"tiny.{e.get('type')}", record_id="1") for e in d.json["events"]], "kind is 'tiny.None'"),
        (lambda d: [Notice(kind="tiny.project", record_id="1", at=d.json["events"][0]["at"])], "no time with a zone"),
        (lambda d: [1 if d.json else 0], "1 is no Notice"),
        (lambda d: [Notice(kind="tiny.project", record_id="1", into="2")], "they go together"),
    ],
)
def test_nonsense_from_a_drifted_payload_is_named(read: Callable[[Delivery], Any], named: str) -> None:
    problems = deliveries.drift_problems(reading(read), case())
    assert any(named in problem for problem in problems), problems


def test_an_odd_exception_over_a_drifted_payload_is_named() -> None:
    class Odd(Exception):
        pass

    def read(delivery: Delivery) -> list[Notice]:
        if not isinstance(delivery.json, dict):
            raise Odd("what is this?")
        return []

    assert "raised Odd: what is this?" in deliveries.drift_problems(reading(read), case())[0]


def test_a_reading_that_hangs_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "READ_WITHIN_S", 0.05)

    def read(_delivery: Delivery) -> list[Notice]:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            pass
        return []

    monkeypatch.setattr(deliveries, "DRIFTED", (None,))
    monkeypatch.setattr(deliveries, "MOST_PLACES", 2)
    assert "still running after 0.05 s" in deliveries.drift_problems(reading(read), case())[0]


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: f["values"].update({"project.title": "Shop"}), "project.title: mapped to"),
        (lambda f: f["values"].pop("project.status"), "project.status: mapped to 'closed', which the fixture does not name"),
        (lambda f: f["values"].update({"project.owner.email": "a@b.example"}), "does not fill it"),
        (lambda f: f["document"].update(marker=None), "document.marker is 'lh-0123456789' instead of None"),
        (lambda f: f["document"].update(colour="red"), "a document has no colour"),
        (lambda f: f["document"].update(related=[{"kind": "tiny.task", "id": "1"}]), "related tiny.task 1 is missing"),
        (lambda f: f.pop("lookup"), "mapping failed"),
        (lambda f: f["replies"].append({"status": 200, "body": {}}), "nothing asked for"),
        (lambda f: f.update(raises="RecordGone"), "instead of raising RecordGone"),
        (lambda f: f["replies"][0].update(status=404), "fetch raised RecordGone"),
        (lambda f: f.update(related_values={"tiny.task:1": {}}), "the document has only []"),
        (lambda f: f.update(kind="tiny.unknown"), "not among the connector's kinds"),
    ],
)
async def test_a_record_that_differs_is_named(tmp_path: Path, change: Callable[[Any], None], named: str) -> None:
    problems = await records.record_problems(Tiny(), changed_file(tmp_path, PROJECT, change))
    assert any(named in problem for problem in problems), problems


# --- description -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"contract": 2}, "version 2"),
        ({"setup_steps": ()}, "setup_steps"),
        ({"kinds": (Kind(id="tiny.project", fills="project", label="Project"), *Tiny.about.kinds[1:])}, "give poll_s"),
        ({"doors": (replace(Tiny.about.doors[0], secret=""),)}, "where people find its secret"),
        ({"roles": ("crm",)}, "none of its kinds fills 'deal'"),
    ],
)
def test_an_incomplete_description_is_named(changes: dict[str, Any], named: str) -> None:
    problems = description.description_problems(with_about(**changes))
    assert any(named in problem for problem in problems), problems


def test_a_connector_that_keeps_state_is_named() -> None:
    connector = Tiny()
    assert description.state_problems(connector) == []
    connector.seen = 1  # type: ignore[attr-defined]
    assert description.state_problems(connector) == ["Tiny keeps ['seen']; instances are stateless"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("import httpx", "imports httpx"),
        ("import time", "is the core's"),
        ("from lifecyclehub.store import operations", "imports lifecyclehub.store"),
        ("from lifecyclehub import vault", "imports lifecyclehub.vault"),
        ("def f():\n    import asyncio", "imports asyncio"),
    ],
)
def test_a_forbidden_import_is_named(tmp_path: Path, line: str, named: str) -> None:
    package = tmp_path / "lifecyclehub_tiny"
    shutil.copytree(ROOT / "lifecyclehub_tiny", package)
    assert description.import_problems(package, ()) == []
    (package / "more.py").write_text(line)
    assert named in description.import_problems(package, ())[0]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("## Webhooks", "## Hooks", "the headings are"),
        ("`create_task`", "create_task", "does not name `create_task`"),
        ("Marker", "Mark", "is once by Marker"),
        ("By hand.", "", "'Webhooks' is empty"),
    ],
)
def test_a_readme_that_departs_is_named(tmp_path: Path, before: str, after: str, named: str) -> None:
    text = (ROOT / "README.md").read_text()
    assert before in text
    (tmp_path / "README.md").write_text(text.replace(before, after))
    assert named in description.readme_problems(Tiny(), tmp_path)[0]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("[rules.sweep]", "[rules.sweeps]", "the rule sweep is missing"),
        ('why = "It does not exist."', 'why = " "', "say why"),
        ('state = "done"', 'state = "yes"', "state must be one of"),
        ("format = 1", "format = 2", "format must be 1"),
    ],
)
def test_a_quality_file_that_hides_something_is_named(tmp_path: Path, before: str, after: str, named: str) -> None:
    text = (ROOT / "quality.toml").read_text()
    assert before in text
    (tmp_path / "quality.toml").write_text(text.replace(before, after))
    assert any(named in problem for problem in description.quality_problems(tmp_path))


def test_a_missing_default_mapping_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = default_mappings(Tiny())
    monkeypatch.setattr(
        "lifecyclehub.testing.defaults.default_mappings", lambda _connector: {"project.toml": texts["project.toml"]}
    )
    assert defaults.mapping_coverage_problems(Tiny()) == [
        f"no default mapping of {name} is in the connector's package" for name in ("create_project", "create_task")
    ]
