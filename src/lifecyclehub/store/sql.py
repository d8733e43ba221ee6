"""Statements that SQLAlchemy compiles once for each kind of database, and that the driver then runs again and again.

Building and compiling stay SQLAlchemy's, and so do types, connections and transactions. What is left out is its work for
each execution, which cost more than the database's own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, Dialect, Select, Table, bindparam
from sqlalchemy.exc import DBAPIError, StatementError

Row: TypeAlias = dict[str, Any]
Values: TypeAlias = Mapping[str, Any]
_Step: TypeAlias = Callable[[Any], Any]

# How many values a list in a statement has room for: a few sizes, so that there are few texts, and all of them are far
# below SQLite's limit. What is left over repeats the last value.
ROOM: Final = (1, 8, 32, 128, 400)


class Compiled:
    """A statement as one database takes it, with what makes the driver's values of ours, and ours of the driver's.

    None is NULL both ways, for all our types.
    """

    def __init__(self, statement: Any, dialect: Dialect, columns: Sequence[str] | None = None) -> None:
        compiler: Any = dialect.statement_compiler
        made = _writing_out(compiler)(dialect, statement, column_keys=columns)
        if made.post_compile_params or made.literal_execute_params or made.escaped_bind_names:
            raise ValueError(f"only running it completes this statement: {made}")
        self.text = str(made)
        self._by_place = bool(made.positional)
        self._names: tuple[str, ...] = tuple(made.positiontup if made.positional else made.bind_names.values())
        self._fixed = {name: made.binds[name].value for name in self._names if not made.binds[name].required}
        if columns is not None:
            self._fixed |= _defaults(statement.table, columns)
        binders = [_of(made.binds[name].type, dialect).bind_processor(dialect) for name in self._names]
        self._binders: list[tuple[int, _Step]] = [(place, one) for place, one in enumerate(binders) if one is not None]
        self._take = _taker(self._names)
        self._as_it_is = self._by_place and not self._binders and not self._fixed
        chosen = list(statement.selected_columns) if isinstance(statement, Select) else []
        self._columns = tuple(str(one.key) for one in chosen)
        readers = [(str(one.key), _of(one.type, dialect).result_processor(dialect, None)) for one in chosen]
        self._readers: list[tuple[str, _Step]] = [(name, one) for name, one in readers if one is not None]

    def bound(self, values: Values) -> Any:
        """Give the driver's parameters. Raises StatementError for what is missing or cannot be kept."""
        try:
            if self._as_it_is:
                return self._take(values)
            taken = list(self._take({**self._fixed, **values} if self._fixed else values))
            for place, bind in self._binders:
                if taken[place] is not None:
                    taken[place] = bind(taken[place])
        except Exception as error:
            said = f"({type(error).__name__}) {error}"
            raise StatementError(said, self.text, None, error, hide_parameters=True) from error
        return taken if self._by_place else dict(zip(self._names, taken, strict=True))

    def listed(self, wanted: list[Any], values: Values) -> Any:
        """Give the parameters of a statement with a list of values in it, and of whatever else it takes."""
        if self._as_it_is and not values:
            return wanted
        return self.bound({**dict(zip(_NAMES, wanted, strict=False)), **values})

    def rows(self, fetched: Sequence[Sequence[Any]]) -> list[Row]:
        """Give fetched rows by name, typed as their columns say."""
        columns, readers = self._columns, self._readers
        if fetched and len(fetched[0]) != len(columns):
            raise ValueError(f"rows of {len(fetched[0])} values for {len(columns)} columns: {self.text}")
        found = [dict(zip(columns, one)) for one in fetched]  # noqa: B905 (of the same length: all are, or none)
        for row in found:
            for name, read in readers:
                if row[name] is not None:
                    row[name] = read(row[name])
        return found


class _Compiling:
    """Keeps what was compiled, by the kind of database and what else makes the text another one."""

    def __init__(self, statement: Any) -> None:
        self.statement = statement
        self._compiled: dict[tuple[str, Any], Compiled] = {}

    def _for(self, conn: Connection, kind: Any, make: Callable[[], Any], columns: Sequence[str] | None = None) -> Compiled:
        key = (conn.dialect.name, kind)
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = Compiled(make(), conn.dialect, columns)
        return found


class Query(_Compiling):
    """A SELECT. With `among`, also a list of values of that column: then it is run as often as their number asks."""

    def __init__(self, statement: Select[Any], among: ColumnElement[Any] | None = None) -> None:
        super().__init__(statement)
        self._among = among

    def all(self, conn: Connection, /, **values: Any) -> list[Row]:
        """Give all rows for these values of its bound parameters."""
        compiled = self._for(conn, 0, lambda: self.statement)
        return compiled.rows(_run(conn, compiled.text, compiled.bound(values)))

    def each(self, conn: Connection, wanted: Collection[Any], /, **values: Any) -> list[Row]:
        """Give all rows whose column is among the wanted values, which are looked for in their order, many at a time."""
        ordered, found = sorted(wanted), []
        for start in range(0, len(ordered), ROOM[-1]):
            part = ordered[start : start + ROOM[-1]]
            room = next(one for one in ROOM if one >= len(part))
            compiled = self._for(conn, room, lambda room=room: self._with_room(room))  # type: ignore[misc]
            found += compiled.rows(_run(conn, compiled.text, compiled.listed(part + part[-1:] * (room - len(part)), values)))
        return found

    def _with_room(self, room: int) -> Any:
        assert self._among is not None  # noqa: S101 (such a query is made with it)
        return self.statement.where(self._among.in_([bindparam(name, type_=self._among.type) for name in _NAMES[:room]]))


class Write(_Compiling):
    """An INSERT, UPDATE or DELETE, run once for each row of values."""

    def run(self, conn: Connection, rows: Sequence[Values]) -> int:
        """Run it with one executemany, and give how many rows it met. All rows must have the same names."""
        if not rows:
            return 0
        compiled = self._compiled_for(conn, rows[0])
        return int(_run(conn, compiled.text, [compiled.bound(one) for one in rows], many=True))

    def count(self, conn: Connection, /, **values: Any) -> int:
        """Run it once and give how many rows it met."""
        compiled = self._compiled_for(conn, values)
        return int(_run(conn, compiled.text, compiled.bound(values), counting=True))

    def _compiled_for(self, conn: Connection, first: Values) -> Compiled:
        return self._for(conn, 0, lambda: self.statement)


class Insert(Write):
    """An INSERT of whichever columns are given; `make` is told the kind of database and the columns."""

    def __init__(self, make: Callable[[str, tuple[str, ...]], Any]) -> None:
        super().__init__(None)
        self._make = make

    def _compiled_for(self, conn: Connection, first: Values) -> Compiled:
        columns = tuple(first)
        return self._for(conn, columns, lambda: self._make(conn.dialect.name, columns), columns)


_NAMES: Final = tuple(f"wanted_{place}" for place in range(ROOM[-1]))


def _defaults(table: Table, columns: Sequence[str]) -> Row:
    """Give what the table's columns hold when nothing is given for them, as far as we and not the database say so."""
    left = [one for one in table.columns if one.name not in columns and one.default is not None]
    return {one.name: one.default.arg for one in left}  # type: ignore[union-attr]


@cache
def _writing_out(compiler: Any) -> Any:
    """Give a compiler that writes what never changes into the text, as with `state = 'held'`.

    SQLite prepares a statement anew for each execution when a value is bound that an index could depend on.
    """

    class WritingOut(compiler):  # type: ignore[misc]
        def visit_bindparam(self, bindparam: Any, *args: Any, literal_binds: bool = False, **more: Any) -> Any:
            fixed = not bindparam.required and type(bindparam.value) in (str, int)
            return super().visit_bindparam(bindparam, *args, literal_binds=literal_binds or fixed, **more)

    return WritingOut


def _of(kind: Any, dialect: Dialect) -> Any:
    return kind.dialect_impl(dialect)


def _taker(names: tuple[str, ...]) -> Callable[[Values], Iterable[Any]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]


def _run(conn: Connection, text: str, parameters: Any, *, many: bool = False, counting: bool = False) -> Any:
    """Let the driver run a statement in the connection's transaction; its errors are raised as SQLAlchemy raises them."""
    if not conn.in_transaction():
        conn.begin()
    cursor = conn.connection.cursor()
    try:
        if many:
            cursor.executemany(text, parameters)
            return cursor.rowcount
        cursor.execute(text, parameters)
        return cursor.rowcount if counting else cursor.fetchall()
    except conn.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(conn, cursor, text, error, many=many) from error
    finally:
        cursor.close()


def begin_with(conn: Connection, text: str) -> None:
    """Run the first statement of a transaction that is just beginning."""
    cursor = conn.connection.cursor()
    try:
        cursor.execute(text)
    except conn.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(conn, cursor, text, error, many=False) from error
    finally:
        cursor.close()


def _as_sqlalchemy(conn: Connection, cursor: Any, text: str, error: Exception, *, many: bool) -> BaseException:
    """Give the error that SQLAlchemy would raise, without values; a connection that is gone is given up, as it does."""
    lost = not conn.closed and conn.dialect.is_disconnect(error, conn.connection.dbapi_connection, cursor)  # type: ignore[arg-type]
    raised: Any = DBAPIError.instance(
        text,
        None,
        error,
        conn.dialect.loaded_dbapi.Error,
        hide_parameters=conn.engine.hide_parameters,
        connection_invalidated=lost,
        dialect=conn.dialect,
        ismulti=many,
    )
    if lost:
        conn.invalidate(error)
    return raised  # type: ignore[no-any-return]
