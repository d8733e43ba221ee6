"""A story without network, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A home with four connections, told step by step."""
    told = Story(tmp_path)
    yield told
    told.close()
