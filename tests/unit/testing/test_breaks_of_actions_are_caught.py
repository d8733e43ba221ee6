"""Whatever an action does against the contract, the kit names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.connector import Call
from lifecyclehub.connector.roles import CreateProject
from lifecyclehub.errors import CallFailed
from lifecyclehub.messages import Absent, CannotTell, Done, Json, Key, Outcome, Reply, Request, Retry, Sighting
from lifecyclehub.testing import actions
from lifecyclehub.testing.fixtures import BadFixture, DeliveryCase
from tests.support.tiny import (
    CHANGED,
    CREATE,
    TASK,
    MakeProject,
    MakeTask,
    Tiny,
    changed_file,
    with_about,
)

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

    def both(request: Request, body: Any, key: Key) -> Request:
        return replace(request, json={**body, "name": f"Website {key.marker} lh-zzzzzzzzzz"})

    assert len(actions.once_problems(wayward(render=without), CREATE)) == 2
    assert len(actions.once_problems(wayward(render=fixed), CREATE)) == 1
    (first, _) = actions.once_problems(wayward(render=both), CREATE)
    assert "beside lh-0123456789 it holds lh-zzzzzzzzzz" in first


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


class Swallowing(Wayward):
    async def find(self, call: Call, v: CreateProject, key: Key) -> Sighting:
        try:
            return await super().find(call, v, key)
        except CallFailed as error:
            return CannotTell(str(error))


@pytest.mark.anyio
async def test_a_look_up_that_hides_refused_credentials_is_named() -> None:
    problems = await actions.lookup_problems(with_about(actions=(Swallowing(), MakeTask())), CREATE)
    assert [problem for problem in problems if "where our credentials are refused" in problem] == problems != []


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
