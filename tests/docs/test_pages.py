"""The pages tell what the code does: nothing missing, nothing that is not there, no link that leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lifecyclehub.admin.tokens import PREFIX
from lifecyclehub.cli import codes
from lifecyclehub.connector.roles import ROLES
from lifecyclehub.handoffs import reading
from lifecyclehub.handoffs.context import VISIBLE
from lifecyclehub.insight import advice
from lifecyclehub.mapping.converters import CONVERTERS
from lifecyclehub.mapping.functions import Exact
from lifecyclehub.mapping.inbound import INBOUND_KEYS
from lifecyclehub.mapping.outbound import OUTBOUND_KEYS
from lifecyclehub.model import STAGES, STANDINGS
from lifecyclehub.settings import _ENVIRONMENT, _KEYS
from lifecyclehub.vault.vault import KEY_VARIABLE
from tests.docs.blocks import ROOT
from tests.docs.shown import masked

ADMIN = ROOT / "docs" / "admin"
PAGES = sorted(
    path
    for folder in (ROOT / "docs", ROOT / "plugins", ROOT)
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if ".venv" not in path.parts
)
WORDS = (
    "connector grant connection endpoint delivery notice record snapshot event client contact teammate engagement charge link"
    " mirror authority owner mapping lookup converter handoff gate effect attempt receipt action round revision epoch lag sweep"
    " replay go-live leak finding"
)
SECRETIVE = re.compile(r"\b(?:lch_|pat-[a-z]{2,3}\d?-|sk_|xox[bp]-|ghp_|eyJ)[A-Za-z0-9_-]{16,}")
NEVER = re.compile(r"\b(inbox|outbox|dead letter|tenant)s?\b", re.IGNORECASE)


def named(page: Path) -> set[str]:
    """Give what a page names in backquotes, also the words in them."""
    spans = re.findall(r"`([^`\n]+)`", page.read_text("utf-8"))
    return {*spans, *(word for span in spans for word in re.findall(r"[a-zA-Z_.-]+", span))}


def section(page: Path, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {heading!r}"
    return found[1]


def first_column(text: str) -> set[str]:
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([a-z_]+)", cell)}


def test_the_pages_made_from_code_are_up_to_date(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, 'tools'); import pages; [print(p.name, p.read_text() == chr(10).join(f()) + chr(10)) "
    )
    script += "for p, f in pages.PAGES.items()]"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "False" not in done.stdout, f"run: .venv/bin/python tools/pages.py\n{done.stdout}"


def test_every_converter_is_explained_and_no_other() -> None:
    assert first_column(section(ADMIN / "reference-mappings.md", "Converters")) == set(CONVERTERS)


def test_every_function_is_named() -> None:
    assert set(Exact.FUNCTION_TABLE) - named(ADMIN / "reference-mappings.md") == set()


def test_every_key_of_an_entry_is_explained_and_no_other() -> None:
    assert first_column(section(ADMIN / "reference-mappings.md", "An entry")) == INBOUND_KEYS | OUTBOUND_KEYS


def test_every_key_of_a_handoff_is_explained() -> None:
    text = section(ADMIN / "reference-handoffs.md", "handoffs.toml")
    known = {*reading._HANDOFF_KEYS, *reading._EFFECT_KEYS, *(name for seen in VISIBLE.values() for name in seen), *VISIBLE}
    assert {name for name in known if f"`{name}`" not in text} == {"effects", "with"}  # written as tables
    assert "`[[handoff.effects]]`" in text
    assert "`[handoff.effects.with]`" in text


def test_every_action_is_listed_with_its_input() -> None:
    text = section(ADMIN / "reference-handoffs.md", "Actions and their inputs")
    listed = {cells[1].strip(" `"): cells[2].strip() for row in text.splitlines() if (cells := row.split("|"))[1:] and "`" in row}
    wanted = {
        f"{role.id}.{name}": ", ".join(
            f"{field}\\*" if info.is_required() else field for field, info in model.model_fields.items()
        )
        for role in ROLES.values()
        for name, model in role.actions.items()
    }
    assert listed == wanted


def test_every_setting_and_variable_is_explained() -> None:
    missing = {*_KEYS, *_ENVIRONMENT.values(), KEY_VARIABLE, "LIFECYCLEHUB_HOME"} - named(ADMIN / "reference-settings.md")
    assert missing == set()


def test_every_exit_code_is_explained() -> None:
    text = section(ADMIN / "reference-settings.md", "Exit codes")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert told == {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, int)}


def test_whatever_waits_is_explained() -> None:
    text = (ADMIN / "what-waits.md").read_text("utf-8")
    reasons = {reason for table in (advice._EFFECTS, advice._NOTICES) for state, reason in table if state in ("held", "parked")}
    later = {"gate", "approval"}
    assert {reason for reason in reasons - later if f"`{reason}`" not in text} == set()


def test_the_glossary_has_every_word() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    assert [word for word in WORDS.split() if f"**{word}**" not in text] == []
    assert [word for word in (*STAGES, *STANDINGS) if word not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)
    assert lost == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if "docs" in page.parts], ids=lambda page: page.stem)
def test_the_words_that_we_gave_up_are_not_used(page: Path) -> None:
    assert NEVER.findall(page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_shows_what_looks_like_a_credential(page: Path) -> None:
    assert SECRETIVE.findall(page.read_text("utf-8")) == []


def test_a_credential_on_a_page_would_be_found() -> None:
    made = PREFIX + "a1_-" * 11
    assert SECRETIVE.search(f"shown only now: {made}")
    assert masked(f"shown only now: {made}") == masked("shown only now: lch_…")
