"""The demo itself, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.sandbox.installation import MARK, fresh_home
from lifecyclehub.sandbox.processes import DidNotHappen, wait_for


@pytest.mark.slow
def test_the_demo_walks_one_client_through_four_tools_and_its_proof_holds(tmp_path: Path) -> None:
    environment = {**os.environ, "LIFECYCLEHUB_HOME": "", "COLUMNS": "120"}
    asked = [sys.executable, "-m", "lifecyclehub", "demo", "--once", "--home", "demo-home"]
    ran = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False)

    told = ran.stdout
    assert ran.returncode == 0, told + ran.stderr
    assert "0 doubles, 0 lost. The proof holds." in told
    assert len(re.findall(r"^   receipt ", told, re.MULTILINE)) == 13
    assert "\x1b" not in told, "plain where nobody looks at a screen"
    assert not re.search(r"pat-eu1-sandbox|sandbox-client-secret|sandbox-hubspot-client-secret", told + ran.stderr)
    assert (tmp_path / "demo-home" / MARK).is_file()
    assert (tmp_path / "demo-home" / "tools" / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_the_demo_deletes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigurationError, match="did not make it"):
        fresh_home(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_demo_makes_its_own_folder_anew(tmp_path: Path) -> None:
    home = tmp_path / "demo-home"
    fresh_home(home)
    (home / "left-over").touch()
    fresh_home(home)
    assert not (home / "left-over").exists()
    assert (home / "hub.sqlite3").exists()


def test_what_does_not_happen_is_named(tmp_path: Path) -> None:
    with pytest.raises(DidNotHappen, match=r"the sunrise did not happen within 0 s\. It is still night\."):
        wait_for("the sunrise", lambda: None, 0, lambda: "It is still night.")
