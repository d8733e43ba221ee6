"""The settings' file is the owner's alone, is never left half written, and shows no password."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lifecyclehub.settings import FILE, read_settings, write_settings

SECRET = "postgresql+psycopg://hub:canary-password@localhost/hub"


def test_the_file_may_hold_a_password_so_nobody_else_reads_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_settings(tmp_path, {"database": SECRET})
        write_settings(tmp_path, {"port": 8470})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert (read_settings(tmp_path, {}).database, read_settings(tmp_path, {}).port) == (SECRET, 8470)


def test_what_an_admin_allowed_others_to_read_stays_readable(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('timezone = "Europe/Vienna"  # ours\n', "utf-8")
    (tmp_path / FILE).chmod(0o640)
    write_settings(tmp_path, {"port": 8470})
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o640
    assert "# ours" in (tmp_path / FILE).read_text("utf-8")


def test_a_full_disk_leaves_the_settings_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(tmp_path, {"public_url": "https://hub.example.com"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as once:
        once.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_settings(tmp_path, {"port": 8470})
    assert read_settings(tmp_path, {}).public_url == "https://hub.example.com"
    write_settings(tmp_path, {"port": 8470})
    assert read_settings(tmp_path, {}).port == 8470
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


def test_settings_show_no_password(tmp_path: Path) -> None:
    assert "canary" not in repr(read_settings(tmp_path, {"LIFECYCLEHUB_DATABASE": SECRET}))
