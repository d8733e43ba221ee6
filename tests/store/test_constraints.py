"""What must happen once is a key in the database: no code above can break it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, func, select, update
from sqlalchemy.exc import IntegrityError

from lifecyclehub.store import tables as t
from lifecyclehub.store.upsert import insert_new, put_all
from tests.support.tables import make_tables

AT = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    make_tables(engine)
    with engine.connect() as opened:
        with opened.begin():
            put(opened, t.client, id="cli_1", created_at=AT)
            put(opened, t.client, id="cli_2", created_at=AT)
            put(opened, t.engagement, id="eng_1", client="cli_1", created_at=AT)
            for charge in ("chg_1", "chg_2"):
                put(opened, t.charge, **a_charge(charge))
            for invoice in ("inv_1", "inv_2"):
                put(opened, t.invoice, id=invoice, status="draft", fields={})
        yield opened


def put(conn: Connection, table: Table, **row: Any) -> None:
    conn.execute(table.insert(), [row])


def a_charge(one: str, **more: Any) -> dict[str, Any]:
    scope = {"source_kind": "scope", "source_id": one, "part": ""}
    return {"id": one, "engagement": "eng_1", "description": "x", "amount_minor": 1, "amount_currency": "EUR", **scope, **more}


def a_line(invoice: str, charge: str | None, position: int = 0, *, live: bool = True) -> dict[str, Any]:
    money = {"description": "x", "amount_minor": 1, "amount_currency": "EUR"}
    return {"invoice": invoice, "charge": charge, "position": position, "live": live, **money}


def an_effect(one: str, key: str) -> dict[str, Any]:
    what = {"handoff": "h", "name": "n", "subject_kind": "deal", "subject": "d", "cause_kind": "deal", "cause": "d"}
    how = {"role": "crm", "action": "a", "marker": "m", "state": "planned", "applied_set": "s", "planned_at": AT}
    return {"id": one, "key": key, **what, **how}


def a_delivery(one: str, **more: Any) -> dict[str, Any]:
    whose = {"connector": "c", "way": "webhook", "door": "d", "headers": {}, "received_at": AT, "endpoint": "end_1"}
    return {"id": one, "body": b"x", "body_hash": "hash", "state": "open", "vendor_key": None, **whose, **more}


def a_notice(one: str, position: int, **more: Any) -> dict[str, Any]:
    what = {"kind": "k", "record_id": "r", "change": "changed", "state": "open", "kept_at": AT, "connector": "c", "account": "a"}
    return {"id": one, "delivery": "dlv_1", "position": position, "endpoint": "end_1", "key": None, **what, **more}


def refused(conn: Connection, table: Table, **row: Any) -> bool:
    with conn.begin():
        savepoint = conn.begin_nested()
        try:
            put(conn, table, **row)
        except IntegrityError:
            savepoint.rollback()
            return True
    return False


@pytest.fixture
def endpoint(conn: Connection) -> None:
    with conn.begin():
        put(conn, t.endpoint, id="end_1", connector="c", door="d", state="listening", created_at=AT)


def test_a_charge_is_on_one_living_invoice_line(conn: Connection) -> None:
    assert not refused(conn, t.invoice_line, **a_line("inv_1", "chg_1"))
    assert refused(conn, t.invoice_line, **a_line("inv_2", "chg_1"))
    assert refused(conn, t.invoice_line, **a_line("inv_1", "chg_1", 1))
    assert not refused(conn, t.invoice_line, **a_line("inv_2", "chg_2"))


def test_a_charge_of_a_void_invoice_may_be_billed_again_once(conn: Connection) -> None:
    assert not refused(conn, t.invoice_line, **a_line("inv_1", "chg_1"))
    with conn.begin():
        conn.execute(update(t.invoice_line).values(live=False))

    assert not refused(conn, t.invoice_line, **a_line("inv_2", "chg_1"))
    assert refused(conn, t.invoice_line, **a_line("inv_1", "chg_1", 1))


def test_lines_without_a_charge_may_be_many(conn: Connection) -> None:
    assert not refused(conn, t.invoice_line, **a_line("inv_1", None, 0))
    assert not refused(conn, t.invoice_line, **a_line("inv_1", None, 1))


def test_one_source_makes_one_charge(conn: Connection) -> None:
    assert refused(conn, t.charge, **a_charge("chg_3", source_id="chg_1"))
    assert not refused(conn, t.charge, **a_charge("chg_3", source_id="chg_1", part="2"))


def test_an_identity_key_belongs_to_one_client(conn: Connection) -> None:
    assert not refused(conn, t.identity_key, kind="domain", value="orchard.example", client="cli_1")
    assert refused(conn, t.identity_key, kind="domain", value="orchard.example", client="cli_2")
    assert not refused(conn, t.identity_key, kind="email", value="orchard.example", client="cli_2")


def test_an_effect_exists_once_per_key(conn: Connection) -> None:
    assert not refused(conn, t.effect, **an_effect("eff_1", "key"))
    assert refused(conn, t.effect, **an_effect("eff_2", "key"))


def test_a_record_has_one_link(conn: Connection) -> None:
    link = {"connection": "con_1", "kind": "k", "record_id": "1"}
    assert not refused(conn, t.link, **link)
    assert refused(conn, t.link, **link)


@pytest.mark.usefixtures("endpoint")
def test_a_vendors_delivery_key_is_kept_once_for_ever(conn: Connection) -> None:
    assert not refused(conn, t.delivery, **a_delivery("dlv_1", vendor_key="k", state="split"))
    assert refused(conn, t.delivery, **a_delivery("dlv_2", vendor_key="k", body_hash="other"))
    assert not refused(conn, t.delivery, **a_delivery("dlv_3", vendor_key="k2", body_hash="other"))


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("first", "second", "folds"),
    [
        ({}, {}, True),
        ({"state": "split"}, {}, False),
        ({"state": "parked"}, {}, False),
        ({}, {"body_hash": "other"}, False),
        ({"way": "sweep"}, {"way": "sweep"}, False),
    ],
)
def test_equal_bytes_fold_only_into_a_delivery_that_is_not_split(conn: Connection, first: Any, second: Any, folds: bool) -> None:
    with conn.begin():
        put(conn, t.delivery, **a_delivery("dlv_1", **first))

    assert refused(conn, t.delivery, **a_delivery("dlv_2", **second)) is folds


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("first", "second", "folds"),
    [
        ({"key": "k"}, {"key": "k"}, True),
        ({"key": "k"}, {"key": "k", "account": "other"}, False),
        ({"key": "k"}, {"key": "k2"}, False),
        ({}, {}, False),
    ],
)
def test_a_vendors_entry_key_is_unique_per_endpoint_and_account(conn: Connection, first: Any, second: Any, folds: bool) -> None:
    with conn.begin():
        put(conn, t.delivery, **a_delivery("dlv_1"))
        put(conn, t.notice, **a_notice("ntc_1", 0, **first))

    assert refused(conn, t.notice, **a_notice("ntc_2", 1, **second)) is folds
    assert refused(conn, t.notice, **a_notice("ntc_3", 0)), "each position of a delivery once"


def test_what_hurts_a_key_is_left_out_and_its_neighbours_are_not(conn: Connection) -> None:
    with conn.begin():
        put(conn, t.effect, **an_effect("eff_1", "a"))
        insert_new(conn, t.effect, [an_effect("eff_2", "a"), an_effect("eff_3", "b"), an_effect("eff_4", "b")])
        assert list(conn.execute(select(t.effect.c.id).order_by(t.effect.c.id)).scalars()) == ["eff_1", "eff_3"]


def test_what_is_there_is_brought_up_to_date(conn: Connection) -> None:
    link = dict.fromkeys(("thing_kind", "thing", "address"))
    with conn.begin():
        for address in ("one", "two"):
            put_all(conn, t.link, [{"connection": "c", "kind": "k", "record_id": "1", **link, "address": address}])
        assert conn.execute(select(func.max(t.link.c.address), func.count())).one() == ("two", 1)
