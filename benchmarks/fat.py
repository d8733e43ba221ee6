"""The fat case: a signed webhook carries the whole deal and its company; one request makes the project."""

from __future__ import annotations

import hashlib
import hmac

from cases import CLIENTS, SIGNING_SECRET, Connected, now_text, piece_in, post
from ledger import Ledger

_SCOPE = "Relaunch of the website in two languages, with a shop, moved content, and training for three editors. "


class Fat:
    """Deals of a tool whose webhooks need no fetch."""

    name = "fat"
    wanted = ("project",)
    connections = (Connected(connector="fat", auth="token", account="1", secrets={"token": "benchmark"}, hosts=("api",)),)

    def delivery(self, piece: int, port: int) -> bytes:
        """Make the request; every company comes about ten times."""
        client, now = piece % CLIENTS, now_text()
        deal = (
            f'{{"id":"{piece}","version":7,"url":"https://fat.example/deals/{piece}","title":"Deal {piece}","stage":"won",'
            f'"created":"2026-01-05T09:12:44.120Z","won":"{now}","amount":"12500.00","currency":"EUR",'
            f'"owner":{{"email":"owner{client % 7}@northwind.example","name":"Owner {client % 7}"}},'
            f'"description":"{_SCOPE * 3}","labels":["web","retail"],"probability":100}}'
        )
        company = (
            f'{{"id":"c{client}","version":1,"url":"https://fat.example/companies/c{client}","name":"Client {client}",'
            f'"domain":"client{client}.example","phone":"+43 1 5550{client:04d}","country":"AT"}}'
        )
        body = f'{{"event":"evt-{piece}","type":"deal.changed","at":"{now}","deal":{deal},"company":{company}}}'.encode()
        signature = hmac.new(SIGNING_SECRET.encode(), body, hashlib.sha256).hexdigest()
        return post("/hooks/end_fat", port, {"x-fat-signature": signature, "x-fat-delivery": f"dlv-{piece}"}, body)

    def answer(self, ledger: Ledger, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Make projects."""
        if method != "POST" or path != "/projects":
            return 404, b"{}"
        piece = piece_in(body)
        ledger.arrive("project", piece)
        return 201, b'{"id":"p%d","url":"https://fat.example/projects/p%d"}' % (piece, piece)
