"""The simulated Asana does what the connector asks, over real HTTP."""

from __future__ import annotations

import pytest

from lifecyclehub.errors import RecordGone, TryAgain
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Ref, Refused
from lifecyclehub.sandbox.asana import AsanaTool
from lifecyclehub.sandbox.faults import Fault
from tests.support.asana_tool import ASANA, KEY, ToolCall, done, person, seen, told

pytestmark = pytest.mark.anyio


class TestProjects:
    async def test_a_blank_project_carries_its_marker_and_is_found_by_it(self, tool: AsanaTool, call: ToolCall) -> None:
        assert await seen(call, "create_project", {"name": "Website"}) == Absent()
        outcome = await done(call, "create_project", {"name": "Website", "notes": "For Brightwater Foods."})
        assert isinstance(outcome, Done)
        [created] = told(tool, "created")
        assert (created["kind"], created["id"], created["marker"]) == ("project", outcome.record_id, KEY.marker)
        assert await seen(call, "create_project", {"name": "Website"}) == Found(
            (Done(record_id=outcome.record_id, url=outcome.url),)
        )

    async def test_a_project_from_a_template_is_made_by_a_job_and_loses_its_code_by_a_rename(
        self, tool: AsanaTool, call: ToolCall
    ) -> None:
        template = (await tool.add_template("Website", ["Kick-off", "Launch"]))["id"]
        outcome = await done(call, "create_project", {"name": "Brightwater website", "template": template})
        assert isinstance(outcome, Done)
        assert outcome.url
        assert isinstance(await seen(call, "create_project", {"name": "x", "template": template}), Found)
        renamed = await done(call, "rename_project", {"project": outcome.record_id, "name": "Brightwater website"})
        assert isinstance(renamed, Done)
        [project] = (await tool.everything())["projects"]
        assert project["name"] == "Brightwater website"
        assert [one["name"] for one in project["tasks"]] == ["Kick-off", "Launch"]
        assert len([line for line in told(tool, "created") if line["kind"] == "project"]) == 1

    async def test_an_unfinished_job_says_so(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.job_delay_s = 5
        action = ASANA.about.action("create_project")
        assert action is not None
        template = (await tool.add_template("Website"))["id"]
        v = action.input.model_validate({"name": "Website", "template": template})
        request = action.render(v, {"name": "Website"}, KEY)
        accepted = action.judge(await call.send(request), request)
        assert isinstance(accepted, Accepted)
        assert await action.check(call, accepted.handle) == accepted
        assert not told(tool, "created")

    async def test_a_project_in_the_archive_is_still_found(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.archive_project(outcome.record_id)
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_project_is_found_among_hundreds(self, tool: AsanaTool, call: ToolCall) -> None:
        for number in range(230):
            tool.state.add_project(f"Old {number}", tool.state.person)
        await done(call, "create_project", {"name": "Website"})
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_copy_made_by_a_person_is_found_too_so_that_a_person_chooses(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.copy_project(outcome.record_id)
        sighting = await seen(call, "create_project", {"name": "Website"})
        assert len(sighting.records) == 2

    async def test_within_the_lag_a_new_project_is_not_in_the_lists(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.lag_s = 60
        await done(call, "create_project", {"name": "Website"})
        assert await seen(call, "create_project", {"name": "Website"}) == Absent()

    async def test_a_lost_answer_has_made_the_project_all_the_same(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.faults = [Fault(do="lose_answer", path="/projects$")]
        with pytest.raises(TryAgain):
            await done(call, "create_project", {"name": "Website"})
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), Found)

    async def test_a_failing_list_is_no_absence(self, tool: AsanaTool, call: ToolCall) -> None:
        tool.misbehaviour.faults = [Fault(do="fail", method="GET", path="/projects$")]
        assert isinstance(await seen(call, "create_project", {"name": "Website"}), CannotTell)

    async def test_completing_is_read_back_and_deleting_is_gone(self, tool: AsanaTool, call: ToolCall) -> None:
        outcome = await done(call, "create_project", {"name": "Website"})
        await tool.complete_project(outcome.record_id)
        document = await ASANA.fetch(call, Ref("asana.project", outcome.record_id))
        assert document.data["completed"] is True
        assert (document.marker, document.account) == (KEY.marker, tool.account_id)
        assert document.data["owner"]["email"] == "hub@northwind-atelier.example"
        await tool.delete_project(outcome.record_id)
        with pytest.raises(RecordGone):
            await ASANA.fetch(call, Ref("asana.project", outcome.record_id))

    async def test_a_sweep_sees_what_changed_and_nothing_older(self, tool: AsanaTool, call: ToolCall) -> None:
        old = tool.state.add_project("Old", tool.state.person)
        old |= {"modified_at": "2020-01-01T00:00:00.000Z"}
        [first] = [page async for page in ASANA.sweep(call, "asana.project", None, full=False)]
        made = await tool.create_project_by_hand("New")
        pages = [page async for page in ASANA.sweep(call, "asana.project", first.cursor, full=False)]
        assert [notice.record_id for page in pages for notice in page.notices] == [made["id"]]
        pages = [page async for page in ASANA.sweep(call, "asana.project", None, full=True)]
        assert {notice.record_id for page in pages for notice in page.notices} == {made["id"], old["gid"]}


class TestTasks:
    async def test_a_task_with_assignee_and_due_date_and_a_comment_on_it_are_found_again(
        self, tool: AsanaTool, call: ToolCall
    ) -> None:
        project = (await tool.create_project_by_hand("Website"))["id"]
        owner = {"email": "tomas@northwind-atelier.example", "record": person(tool, "Tomas Lind")}
        value = {"project": project, "title": "Kick-off", "owner": owner, "due_on": "2026-07-01"}
        assert await seen(call, "create_task", value) == Absent()
        outcome = await done(call, "create_task", value)
        assert await seen(call, "create_task", value) == Found((Done(record_id=outcome.record_id, url=outcome.url),))
        comment = {"project": project, "task": outcome.record_id, "text": "Ticket 4711"}
        assert await seen(call, "add_comment", comment) == Absent()
        said = await done(call, "add_comment", comment)
        assert await seen(call, "add_comment", comment) == Found((Done(record_id=said.record_id),))
        [shown] = (await tool.everything())["projects"][0]["tasks"]
        assert (shown["assignee"], shown["due_on"]) == ("tomas@northwind-atelier.example", "2026-07-01")
        assert shown["comments"] == [f"Ticket 4711\n\n{KEY.marker}"]
        assert [line["marker"] for line in told(tool, "commented")] == [KEY.marker]

    async def test_an_assignee_from_elsewhere_is_refused_and_nothing_is_made(self, tool: AsanaTool, call: ToolCall) -> None:
        project = (await tool.create_project_by_hand("Website"))["id"]
        value = {"project": project, "title": "x", "owner": {"email": "who@elsewhere.example", "record": "12345"}}
        outcome = await done(call, "create_task", value)
        assert isinstance(outcome, Refused)
        assert outcome.owner
        assert "assignee" in outcome.reason
        assert not (await tool.everything())["projects"][0]["tasks"]


class TestPeople:
    async def test_people_are_listed_once_and_then_only_who_came_changed_or_went(self, tool: AsanaTool, call: ToolCall) -> None:
        async def swept(cursor: str | None) -> tuple[set[str], str | None]:
            pages = [page async for page in ASANA.sweep(call, "asana.user", cursor, full=False)]
            return {notice.record_id for page in pages for notice in page.notices}, pages[-1].cursor

        found, cursor = await swept(None)
        assert found == set(tool.state.people)
        assert await swept(cursor) == (set(), cursor)
        ines, tomas = person(tool, "Ines Okafor"), person(tool, "Tomas Lind")
        mara = (await tool.acts["add_person"]("Mara Falk", "mara@northwind-atelier.example"))["id"]
        await tool.acts["edit_person"](ines, email="ines.okafor@northwind-atelier.example")
        await tool.acts["remove_person"](tomas)
        found, cursor = await swept(cursor)
        assert found == {ines, tomas, mara}
        assert (await ASANA.fetch(call, Ref("asana.user", ines))).data["email"] == "ines.okafor@northwind-atelier.example"
        with pytest.raises(RecordGone):
            await ASANA.fetch(call, Ref("asana.user", tomas))
        assert (await swept(cursor))[0] == set()

    async def test_more_people_than_one_page_are_all_listed(self, tool: AsanaTool, call: ToolCall) -> None:
        for number in range(230):
            tool.state.add_person(f"Person {number}", f"p{number}@northwind-atelier.example")
        pages = [page async for page in ASANA.sweep(call, "asana.user", None, full=True)]
        assert {notice.record_id for page in pages for notice in page.notices} == set(tool.state.people)
        assert [page.last for page in pages] == [False, False, True]
