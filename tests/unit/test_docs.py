"""The documentation is what the program says: generated pages are current, and every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page: Path) -> list[Path]:
    """Where a page leads inside the project."""
    found = LINK.findall(page.read_text("utf-8"))
    return [(page.parent / target).resolve() for target in found if "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    assert [target for target in links(page) if not target.exists()] == []


def test_every_page_is_reached_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            waiting += links(page)
    assert [page for page in DOCS.rglob("*.md") if page not in seen] == []


def test_the_pages_of_settings_and_commands_are_what_the_program_says() -> None:
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "reference_pages.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_the_readme_names_every_setting_that_is_needed_to_start() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    names = ("HOST", "PORT", "BASE_URL", "OPEN", "WORKERS", "LOG_LEVEL", "DATA_DIR", "MONGODB_URI", "MONGODB_DATABASE")
    assert [name for name in names if f"FHIR_{name}" not in readme] == []
