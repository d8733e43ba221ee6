"""Whatever breaks the contract, the kit names it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import Call, Kind, Signature, Timestamp
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.messages import Absent, Delivery, Done, Json, Key, Notice, Outcome, Reply, Request, Retry, Sighting
from lifecyclehub.registry import default_mappings
from lifecyclehub.signatures import verify
from lifecyclehub.testing import actions, defaults, deliveries, description, records
from lifecyclehub.testing.fixtures import BadFixture, DeliveryCase

ROOT = Path(__file__).parent / "tiny_plugin"
sys.path.append(str(ROOT))

from lifecyclehub_tiny import MakeProject, MakeTask, Tiny  # noqa: E402 (found once its folder is on the path)

CHANGED = ROOT / "tests/fixtures/deliveries/changed.json"
PROJECT = ROOT / "tests/fixtures/records/project.json"
CREATE = ROOT / "tests/fixtures/responses/create_project.blank.json"
TASK = ROOT / "tests/fixtures/responses/create_task.json"


def case(**changes: Any) -> DeliveryCase:
    return replace(DeliveryCase.read(CHANGED), **changes)


def changed_file(tmp_path: Path, original: Path, change: Callable[[Any], None]) -> Path:
    found = json.loads(original.read_text())
    change(found)
    made = tmp_path / original.name
    made.write_text(json.dumps(found))
    return made


def with_about(**changes: Any) -> Tiny:
    class Changed(Tiny):
        about = replace(Tiny.about, **changes)

    return Changed()


def signing(**changes: Any) -> Tiny:
    door = Tiny.about.doors[0]
    return with_about(doors=(replace(door, signature=replace(door.signature, **changes)),))


def reading(read: Callable[[Delivery], Iterable[Any]]) -> Tiny:
    class Changed(Tiny):
        def read(self, delivery: Delivery) -> Iterable[Notice]:
            return read(delivery)

    return Changed()


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


# --- actions ---------------------------------------------------------------------------------------------------------


class Wayward(MakeProject):
    """Breaks one promise at a time."""

    def __init__(self, **ways: Callable[..., Any]) -> None:
        self.ways = ways

    def render(self, v: CreateProject, body: Json, key: Key) -> Request:
        request = super().render(v, body, key)
        return self.ways["render"](request, body, key) if "render" in self.ways else request

    def judge(self, reply: Reply, request: Request) -> Outcome:
        outcome = super().judge(reply, request)
        return self.ways["judge"](reply, outcome) if "judge" in self.ways else outcome

    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        sighting = await super().find(call, v, key)
        return self.ways["find"](sighting) if "find" in self.ways else sighting


def wayward(**ways: Callable[..., Any]) -> Tiny:
    return with_about(actions=(Wayward(**ways), MakeTask()))


def other_each_time() -> Callable[..., Request]:
    count = iter(range(100))
    return lambda request, _body, _key: replace(request, query=(("n", str(next(count))),))


def spoiling(request: Request, body: Any, _key: Key) -> Request:
    body["spoiled"] = True
    return request


@pytest.mark.parametrize(
    ("render", "named"),
    [
        (lambda request, _b, _k: replace(request, path="/project"), "request.path is '/project'"),
        (lambda request, _b, _k: replace(request, method="PUT"), "request.method is 'PUT'"),
        (lambda request, _b, _k: replace(request, host="files"), "host 'files' is not one of"),
        (lambda request, _b, _k: replace(request, path="projects?a=b"), "must start with a slash"),
        (lambda request, _b, _k: replace(request, form=(("a", "b"),)), "json or form, not both"),
        (lambda request, _b, _k: replace(request, headers=(("X-A", "b"),)), "request.headers is {'x-a': 'b'}"),
        (other_each_time(), "rendering twice"),
        (spoiling, "render changed the body"),
    ],
)
def test_a_request_that_differs_is_named(render: Callable[..., Request], named: str) -> None:
    problems = actions.render_problems(wayward(render=render), CREATE)
    assert any(named in problem for problem in problems), problems


def test_a_body_that_the_default_mapping_does_not_make_is_named(tmp_path: Path) -> None:
    def change(found: Any) -> None:
        found["body"]["colour"] = found["request"]["json"]["colour"] = "red"

    problems = actions.render_problems(Tiny(), changed_file(tmp_path, CREATE, change))
    assert len(problems) == 1
    assert "the default mapping makes" in problems[0]


def test_a_missing_marker_and_one_that_never_changes_are_named() -> None:
    def without(request: Request, body: Any, _key: Key) -> Request:
        return replace(request, json=dict(body))

    def fixed(request: Request, body: Any, _key: Key) -> Request:
        return replace(request, json={**body, "name": "Website lh-0123456789"})

    assert len(actions.once_problems(wayward(render=without), CREATE)) == 2
    assert len(actions.once_problems(wayward(render=fixed), CREATE)) == 1


def test_a_missing_idempotency_key_is_named() -> None:
    class Keyless(MakeTask):
        def render(self, v: Any, body: Json, key: Key) -> Request:
            return replace(super().render(v, body, key), headers=())

    problems = actions.once_problems(with_about(actions=(MakeProject(), Keyless())), TASK)
    assert "that header is not the idempotency key" in problems[0]


@pytest.mark.parametrize(
    ("judge", "named"),
    [
        (lambda reply, outcome: Done() if reply.status == 500 else outcome, "a status 500 is judged Done"),
        (lambda reply, outcome: Retry("again") if reply.status == 408 else outcome, "a status 408 is judged Retry"),
        (lambda reply, outcome: Done() if reply.body.startswith(b"<") else outcome, "a log-in page is judged Done"),
        (lambda reply, outcome: Done() if reply.status == 200 and not reply.body else outcome, "an empty body is judged Done"),
        (lambda reply, outcome: Done() if reply.status == 400 else outcome, "instead of Refused"),
        (lambda reply, outcome: reply.json() and outcome, "by raising NotOurJson"),
    ],
)
def test_an_unsafe_judgement_is_named(judge: Callable[..., Any], named: str) -> None:
    problems = actions.judge_problems(wayward(judge=judge), CREATE)
    assert any(named in problem for problem in problems), problems


@pytest.mark.anyio
async def test_a_look_up_that_takes_failure_for_absence_is_named() -> None:
    problems = await actions.lookup_problems(wayward(find=lambda _sighting: Absent()), CREATE)
    assert "find says Absent after status 500; only a complete look-up may" in problems
    assert any("find 0: is Absent() instead of Found" in problem for problem in problems)


@pytest.mark.parametrize("name", ["create_projekt.json", "delete.json"])
def test_a_fixture_of_no_action_is_named(tmp_path: Path, name: str) -> None:
    shutil.copy(CREATE, tmp_path / name)
    with pytest.raises(BadFixture, match="there are create_project, create_task"):
        actions.load_response(Tiny(), tmp_path / name)


def test_a_misspelt_key_of_a_fixture_is_named(tmp_path: Path) -> None:
    path = changed_file(tmp_path, CHANGED, lambda found: found.update(notice=[]))
    with pytest.raises(BadFixture, match="unknown notice; known are"):
        DeliveryCase.read(path)


def test_what_no_fixture_shows_is_named() -> None:
    assert actions.action_coverage_problems(Tiny(), [CREATE]) == [
        "create_task: no fixture shows it done",
        "create_task: no fixture shows it refused",
    ]
    assert len(actions.find_coverage_problems(Tiny(), [TASK])) == 3


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
