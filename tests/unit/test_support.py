"""The tests' own ground: databases that are really empty, and no way out of the machine."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, text

from tests.support.postgres import fresh_schema, shared_server
from tests.support.tables import make_tables


@pytest.mark.parametrize("again", [1, 2])
def test_each_test_gets_an_empty_database(database_url: str, again: int) -> None:
    engine = create_engine(database_url)
    try:
        assert inspect(engine).get_table_names() == [], f"run {again}"
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE marks (id INTEGER PRIMARY KEY)"))
        assert inspect(engine).get_table_names() == ["marks"]
    finally:
        engine.dispose()


def test_a_connection_left_in_a_transaction_does_not_block_the_next_test(postgres_server: str) -> None:
    with fresh_schema(postgres_server) as url:
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE marks (id INTEGER PRIMARY KEY)"))
        left = engine.connect()
        left.execute(text("SELECT * FROM marks"))
    left.invalidate()
    left.close()


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.com", 443), ("2001:db8::1", 80, 0, 0)])
def test_a_test_cannot_reach_another_machine(address: tuple[object, ...]) -> None:
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family) as outside, pytest.raises(RuntimeError, match="only loopback"):
        outside.connect(address)


def test_a_test_can_reach_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as here, socket.create_connection(here.getsockname()) as there:
        assert there.getpeername() == here.getsockname()


def test_a_schema_with_all_tables_is_given_again_empty_and_only_as_it_was_made(postgres_server: str) -> None:
    def with_tables(change: str) -> tuple[int, int, set[str]]:
        with fresh_schema(postgres_server) as url:
            engine = create_engine(url, poolclass=NullPool)
            make_tables(engine)
            with engine.begin() as connection:
                found = connection.execute(text("SELECT 'client'::regclass::oid, (SELECT count(*) FROM client)")).one()
                columns = {one["name"] for one in inspect(connection).get_columns("client")}
                connection.execute(text(change))
            return int(found[0]), int(found[1]), columns

    first, _, columns = with_tables("INSERT INTO client (id, created_at) VALUES ('cli_1', 0)")
    assert with_tables("ALTER TABLE client ADD COLUMN more TEXT") == (first, 0, columns)
    third, _, as_made = with_tables("UPDATE alembic_version SET version_num = '9999'")
    assert third != first
    assert as_made == columns
    fourth, _, _ = with_tables("SELECT 1")
    assert fourth not in (first, third)


def test_a_server_is_shared_and_ends_when_all_are_done_with_it(tmp_path: Path) -> None:
    started, running = itertools.count(1), set()

    @contextmanager
    def server() -> Iterator[str]:
        running.add(url := f"server {next(started)}")
        yield url
        running.remove(url)

    def share() -> AbstractContextManager[str]:
        return shared_server(tmp_path, server)

    with ThreadPoolExecutor() as beside:
        with ExitStack() as others:
            first = ExitStack()
            assert first.enter_context(share()) == "server 1"
            assert others.enter_context(share()) == "server 1"
            assert others.enter_context(share()) == "server 1"
            ending = beside.submit(first.close)
            assert wait([ending], timeout=0.05).not_done
            assert running == {"server 1"}
        ending.result(10)
    assert running == set()
    with share() as another:
        assert another == "server 2"
    assert running == set()
