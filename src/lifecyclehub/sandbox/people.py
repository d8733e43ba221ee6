"""What clients and colleagues do in the simulated tools, and how the tools misbehave: for the demo and the proofs by killing."""

from __future__ import annotations

import random
import socket
from decimal import Decimal
from typing import Any, Final

from lifecyclehub.sandbox.checker import Case
from lifecyclehub.sandbox.processes import Tools

CONTACT: Final = "Ada Quill"
OWNER: Final = "ines@northwind-atelier.example"
FAULTS: Final[dict[str, list[dict[str, Any]]]] = {
    # Slow ones act after the hub has given up, and still within the time that the tool says it needs at most.
    "hubspot": [
        {"do": "lose_answer", "path": "objects/notes", "times": 2},
        {"do": "slow", "path": "objects/notes", "times": 1, "seconds": 3.3},
        {"do": "rate_limit", "method": "*", "times": 2, "seconds": 1},
        {"do": "fail", "method": "GET", "times": 2},
        {"do": "html", "method": "GET", "times": 1},
    ],
    "asana": [
        {"do": "lose_answer", "path": "instantiateProject", "times": 2},
        {"do": "lose_answer", "path": "/tasks", "times": 3},
        {"do": "slow", "path": "/tasks", "times": 2, "seconds": 3.3},
        {"do": "rate_limit", "method": "*", "times": 2, "seconds": 1},
        {"do": "refuse", "times": 2},
        {"do": "garbage", "path": "/tasks", "times": 1},
        {"do": "fail", "times": 2},
    ],
    "zendesk": [
        {"do": "lose_answer", "method": "PUT", "path": "/tickets/", "times": 2},
        {"do": "slow", "method": "PUT", "path": "/tickets/", "times": 1, "seconds": 3.3},
        {"do": "rate_limit", "method": "*", "times": 2, "seconds": 1},
    ],
    "xero": [
        {"do": "lose_answer", "method": "PUT", "times": 3},
        {"do": "slow", "method": "PUT", "times": 1, "seconds": 3.3},
        {"do": "rate_limit", "method": "*", "times": 2, "seconds": 1},
        {"do": "fail", "method": "PUT", "times": 2},
    ],
}


def domain_of(client: str) -> str:
    """Give a client's domain."""
    return f"{client.lower().replace(' ', '-')}.example"


def inquire(tools: Tools, client: str, title: str, total: Decimal, domain: str | None = None) -> Case:
    """A colleague enters a client's inquiry. Gives the case that it opens."""
    domain = domain or domain_of(client)
    made = tools.act(
        "hubspot",
        "inquire",
        company=client,
        domain=domain,
        contact_name=CONTACT,
        contact_email=f"ada@{domain}",
        title=title,
        amount=str(total),
        owner_email=OWNER,
    )
    return Case(deal=made["deal"], client=client, title=title, total=total)


def write_to_the_desk(tools: Tools, domain: str, subject: str, text: str = "What do you need from us?") -> str:
    """A client writes to the helpdesk. Gives the ticket."""
    mail = f"ada@{domain}"
    opened = tools.act("zendesk", "open_ticket", subject=subject, text=text, requester_name=CONTACT, requester_email=mail)
    return str(opened["ticket"])


def misbehave(tools: Tools, chance: random.Random) -> None:
    """Let the tools lose answers, fail and be slow, in an order of chance, and send webhooks twice, late and backwards."""
    for name, faults in FAULTS.items():
        shuffled = chance.sample(faults, len(faults))
        tools.misbehave(name, faults=shuffled, hooks={"copies": 2, "reverse": True, "lag_s": 0.1}, lag_s=0.7)


def behave(tools: Tools) -> None:
    """Let the tools do what they should again."""
    for name in FAULTS:
        tools.misbehave(name, faults=[], hooks={}, lag_s=0)


def own_port() -> int:
    """Give a free port where no other hub looks for one: while ours is dead, nobody else must take it."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
