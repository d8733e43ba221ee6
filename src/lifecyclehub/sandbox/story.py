from __future__ import annotations
import tomllib
from pathlib import Path
def checklist(home: Path) -> list[str]:
    rows = tomllib.loads((home / "mappings" / "tables" / "onboarding.toml").read_text("utf-8"))["row"]
    return [row["title"] for row in rows]
