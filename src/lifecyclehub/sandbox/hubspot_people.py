"""What people do in the simulated HubSpot's pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lifecyclehub.sandbox.hubspot_owners import Owners
from lifecyclehub.sandbox.hubspot_shape import stamp
from lifecyclehub.sandbox.hubspot_state import PERSON, State


class People:
    """The account's users. `changed` is called after each of their acts."""

    def __init__(self, state: State, changed: Callable[[], None]) -> None:
        self.state, self._changed = state, changed
        self.owners = Owners(state.now)

    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Give what they can do, by name."""
        done = (
            self.inquire,
            self.move_deal,
            self.win_deal,
            self.lose_deal,
            self.edit_deal,
            self.edit_company,
            self.edit_contact,
            self.merge_companies,
            self.merge_deals,
            self.merge_contacts,
            self.delete_deal,
            self.restore_deal,
            self.write_note,
            self.add_owner,
            self.edit_owner,
        )
        return {act.__name__: act for act in done}

    async def inquire(
        self,
        company: str,
        domain: str,
        contact_name: str,
        contact_email: str,
        title: str,
        amount: str | int | None = None,
        currency: str = "EUR",
        owner_email: str | None = None,
    ) -> dict[str, str]:
        """Enter an inquiry: company and contact, where they are not there yet, and a deal in its first stage."""
        first, _, last = contact_name.partition(" ")
        state = self.state
        the_company = state.first("companies", "domain", domain) or state.create(
            "companies", {"name": company, "domain": domain, "lifecyclestage": "lead"}, PERSON
        )
        the_contact = state.first("contacts", "email", contact_email)
        if the_contact is None:
            the_contact = state.create("contacts", {"firstname": first, "lastname": last, "email": contact_email}, PERSON)
            state.associate(the_contact, the_company, {279}, PERSON)
        properties = {"dealname": title, "dealstage": "appointmentscheduled", "deal_currency_code": currency}
        if amount is not None:
            properties["amount"] = str(amount)
        if owner_email is not None:
            properties["hubspot_owner_id"] = self.owners.named(owner_email).id
        deal = state.create("deals", properties, PERSON)
        state.associate(deal, the_company, {341}, PERSON)
        state.associate(deal, the_contact, {3}, PERSON)
        self._changed()
        return {"company": the_company.id, "contact": the_contact.id, "deal": deal.id}

    async def add_owner(self, email: str) -> dict[str, str]:
        """Invite a user, who becomes an owner."""
        return {"owner": self.owners.named(email).id}

    async def edit_owner(self, owner: str, **news: Any) -> dict[str, str]:
        """Give an owner another address or name, or deactivate the user (`archived`)."""
        self.owners.edit(owner, **news)
        return {"owner": owner}

    async def move_deal(self, deal: str, stage: str) -> dict[str, str]:
        """Drag a deal to another stage."""
        return await self.edit_deal(deal, dealstage=stage)

    async def win_deal(self, deal: str) -> dict[str, str]:
        """Drag a deal to Closed Won."""
        return await self.edit_deal(deal, dealstage="closedwon", closedate=stamp(self.state.now()))

    async def lose_deal(self, deal: str) -> dict[str, str]:
        """Drag a deal to Closed Lost."""
        return await self.edit_deal(deal, dealstage="closedlost", closedate=stamp(self.state.now()))

    async def edit_deal(self, deal: str, **properties: Any) -> dict[str, str]:
        """Change properties of a deal."""
        return self._edit("deals", deal, properties)

    async def edit_company(self, company: str, **properties: Any) -> dict[str, str]:
        """Change properties of a company."""
        return self._edit("companies", company, properties)

    async def edit_contact(self, contact: str, **properties: Any) -> dict[str, str]:
        """Change properties of a contact."""
        return self._edit("contacts", contact, properties)

    def _edit(self, path: str, record_id: str, properties: dict[str, Any]) -> dict[str, str]:
        record = self.state.get(path, record_id)
        self.state.update(record, properties, PERSON)
        self._changed()
        return {"id": record.id}

    async def merge_companies(self, primary: str, other: str) -> dict[str, str]:
        """Merge two companies into a new one."""
        return {"company": self._merge("companies", primary, other)}

    async def merge_deals(self, primary: str, other: str) -> dict[str, str]:
        """Merge two deals into a new one."""
        return {"deal": self._merge("deals", primary, other)}

    async def merge_contacts(self, primary: str, other: str) -> dict[str, str]:
        """Merge two contacts into a new one."""
        return {"contact": self._merge("contacts", primary, other)}

    def _merge(self, path: str, primary: str, other: str) -> str:
        merged = self.state.merge(self.state.get(path, primary), self.state.get(path, other), PERSON)
        self._changed()
        return merged.id

    async def delete_deal(self, deal: str) -> dict[str, str]:
        """Delete a deal; HubSpot keeps it in the recycling bin."""
        self.state.archive(self.state.get("deals", deal), PERSON)
        self._changed()
        return {"deal": deal}

    async def restore_deal(self, deal: str) -> dict[str, str]:
        """Take a deal out of the recycling bin."""
        self.state.restore(self.state.get("deals", deal, archived=True), PERSON)
        self._changed()
        return {"deal": deal}

    async def write_note(self, deal: str, text: str) -> dict[str, str]:
        """Write a note on a deal."""
        note = self.state.create("notes", {"hs_note_body": text, "hs_timestamp": stamp(self.state.now())}, PERSON)
        self.state.associate(note, self.state.get("deals", deal), {214}, PERSON)
        self._changed()
        return {"note": note.id}
