"""Teammates: who they are in which tool, and what is said of them."""

from __future__ import annotations

from lifecyclehub.insight.explain import explain
from lifecyclehub.insight.teammates import Teammates
from lifecyclehub.messages import Document
from lifecyclehub.store import tables as t
from tests.support.story import Story


def user(gid: str, name: str, email: str | None) -> Document:
    """A person as Asana's connector gives them."""
    return Document(kind="asana.user", id=gid, account="account-asana", data={"gid": gid, "name": name, "email": email})


def owner(record_id: str, email: str, first: str) -> Document:
    """An owner as HubSpot's connector gives them."""
    data = {"id": record_id, "email": email, "firstName": first, "lastName": "Holm"}
    return Document(kind="hubspot.owner", id=record_id, account="account-hubspot", data=data)


def found(story: Story, email: str, tool: str = "asana") -> str | None:
    record: str | None = story.ask(lambda conn: Teammates(conn).record(email, f"con_{tool}"))
    return record


def test_a_teammate_is_explained_by_id_and_by_record(story: Story) -> None:
    story.see("asana", user("11", "Astrid Holm", "Astrid@Northwind.example"))
    story.see("hubspot", owner("41", "astrid@northwind.example", "Astrid"))
    (teammate,) = story.rows(t.teammate)
    for asked in (teammate["id"], "asana/asana.user/11", "hubspot/hubspot.owner/41"):
        told = story.ask(explain, story.rules, asked, story.clock.now())
        assert {link.kind for link in told.links} <= {"asana.user", "hubspot.owner"}
        assert {one.path: one.value for one in told.values}["teammate.email"] == "astrid@northwind.example"


def test_somebody_without_an_address_is_nobody_to_us(story: Story) -> None:
    story.see("asana", user("11", "A guest", None))
    assert story.rows(t.teammate) == []
    assert [row["state"] for row in story.rows(t.notice)] == ["ignored"]


def test_an_address_that_a_tool_hides_later_is_kept(story: Story) -> None:
    story.see("asana", user("11", "Astrid Holm", "astrid@northwind.example"))
    story.see("asana", user("11", "Astrid Holm-Berg", None))
    assert [(row["email"], row["name"]) for row in story.rows(t.teammate)] == [("astrid@northwind.example", "Astrid Holm-Berg")]
    assert found(story, "astrid@northwind.example") == "11"


def test_of_two_records_the_one_that_has_the_address_now_is_taken(story: Story) -> None:
    story.see("asana", user("11", "Astrid Holm", "astrid@northwind.example"))
    story.see("asana", user("11", "Astrid Holm", "a.holm@northwind.example"))
    story.see("asana", user("12", "Another Astrid", "astrid@northwind.example"))
    assert found(story, "astrid@northwind.example") == "12"
    assert found(story, "a.holm@northwind.example") == "11"


def test_two_who_take_each_others_address_stay_two(story: Story) -> None:
    story.see("asana", user("11", "One", "one@northwind.example"))
    story.see("asana", user("12", "Two", "two@northwind.example"))
    story.see("asana", user("11", "One", "two@northwind.example"))
    story.see("asana", user("12", "Two", "one@northwind.example"))
    assert found(story, "two@northwind.example") == "11"
    assert found(story, "one@northwind.example") == "12"
    assert len(story.rows(t.teammate)) == 2


def test_owners_of_a_batch_are_read_together_and_only_when_one_is_asked_for(story: Story) -> None:
    for number in range(3):
        story.see("asana", user(f"1{number}", f"Person {number}", f"p{number}@northwind.example"))
    asked: list[str] = []

    def look(conn: object) -> list[str | None]:
        people = Teammates(conn)  # type: ignore[arg-type]
        load = people._load
        people._load = lambda emails: (asked.append(",".join(sorted(emails))), load(emails))[1]  # type: ignore[method-assign]
        people.expect([{"fields": {"owner.email": f"p{number}@northwind.example"}} for number in range(3)])
        assert asked == []
        return [people.record(f"p{number}@northwind.example", "con_asana") for number in range(3)]

    assert story.ask(look) == ["10", "11", "12"]
    assert asked == ["p0@northwind.example,p1@northwind.example,p2@northwind.example"]
