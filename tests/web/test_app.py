"""The application around the API: health, readiness, the hooks route, safe headers, set-up."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lifecyclehub.admin.setup import init_home
from lifecyclehub.hub import Hub
from lifecyclehub.registry.registry import Registry
from lifecyclehub.web.app import create_app
from tests.support.home import made_home, make_home
from tests.web.conftest import web

pytestmark = pytest.mark.anyio


async def test_a_hub_is_ready_while_it_runs_and_alive_all_the_time(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(lambda: Hub(settings, registry=Registry.of()))
    async with web(app) as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/readyz")).status_code == 503
        async with app.router.lifespan_context(app):
            assert (await client.get("/readyz")).json() == {"status": "ready"}
        assert (await client.get("/readyz")).status_code == 503


async def test_every_answer_forbids_guessing_caching_and_scripts(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(lambda: Hub(settings, registry=Registry.of()))
    async with app.router.lifespan_context(app), web(app) as client:
        for path in ("/healthz", "/nowhere", "/api/v1/openapi.json"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
            assert "default-src 'none'" in headers["content-security-policy"]


async def test_a_hook_at_an_unknown_endpoint_is_not_found(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(lambda: Hub(settings, registry=Registry.of()))
    async with app.router.lifespan_context(app), web(app) as client:
        answer = await client.post("/hooks/end_nobody", content=b"{}")
        assert answer.status_code == 404
        assert answer.json()["title"] == "unknown-endpoint"


async def test_the_doorbell_is_rung_at_its_own_address_only_and_keeps_the_safe_headers(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    app = create_app(lambda: Hub(settings, registry=Registry.of()))
    async with app.router.lifespan_context(app), web(app) as client:
        rung = await client.post("/hooks/end_nobody", content=b"{}")
        assert "there is no such endpoint" in rung.json()["detail"]
        assert rung.headers["x-content-type-options"] == "nosniff"
        asked = [("GET", "/hooks/end_nobody"), ("POST", "/hooks/"), ("POST", "/hooks/end/more"), ("POST", "/hooks")]
        answers = [await client.request(method, path) for method, path in asked]
    assert [answer.status_code for answer in answers] == [405, 404, 404, 404]


@pytest.mark.parametrize("path", ["/hooks/somewhere/", "/api/v1/status/", "/healthz/"])
async def test_nobody_is_sent_elsewhere_by_the_address_that_they_named_themselves(tmp_path: Path, path: str) -> None:
    """Behind a proxy that adds TLS such a way would lead back to plain HTTP, and the host would be the sender's word."""
    app = create_app(lambda: Hub(make_home(tmp_path), registry=Registry.of()))
    async with web(app) as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, path, headers={"host": "evil.example", "content-length": "0"})
            assert answer.status_code in (404, 405)
            assert "location" not in answer.headers


async def test_no_page_of_somebody_elses_scripts_is_served(tmp_path: Path) -> None:
    app = create_app(lambda: Hub(make_home(tmp_path), registry=Registry.of()))
    async with web(app) as client:
        assert [(await client.get(path)).status_code for path in ("/docs", "/redoc")] == [404, 404]


async def test_setting_up_twice_changes_nothing_and_shows_no_token_again(tmp_path: Path) -> None:
    settings, first = made_home(tmp_path)
    key = (settings.home / "key").read_bytes()
    again = init_home(settings)
    assert (first.new, again.new) == (True, False)
    assert again.installation == first.installation
    assert again.token is None
    assert again.files == ()
    assert (settings.home / "key").read_bytes() == key


async def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((settings.home / "key").stat().st_mode) == 0o600
