"""The pages of docs/ hang together, for a plain reader of Markdown and as a site."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Whoever has run a recipe in its folder has other people's pages there, too.
PAGES = sorted(page for page in DOCS.rglob("*.md") if ".venv" not in page.parts)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def find_links(page: Path) -> list[Path]:
    """Return the files that a page points to."""
    links = LINK.findall(CODE.sub("", page.read_text("utf-8")))
    return [(page.parent / link).resolve() for link in links if "://" not in link]


def name_site(page: Path) -> Path:
    """Return where a page is in the site: a README is the index of its folder."""
    place = page.relative_to(DOCS).with_suffix("")
    return (place.parent if place.name == "README" else place) / "index.html"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_to_files(page: Path) -> None:
    """Each link of a page is to something that is there."""
    assert [str(link) for link in find_links(page) if not link.exists()] == []


def test_every_page_is_reached_from_the_index() -> None:
    """Whoever begins at docs/README.md gets to each page."""
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_relative_to(DOCS):
            continue
        reached.add(page)
        waiting.extend(find_links(page))

    assert sorted(set(PAGES) - reached) == []


@pytest.mark.slow
def test_the_site_is_built(tmp_path: Path) -> None:
    """A generator that reads mkdocs.yml makes a page of each, with nothing to complain about."""
    pytest.importorskip("zensical", reason="the group docs is not installed")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns(".venv"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)

    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "build" / "site"
    assert [page for page in PAGES if not (site / name_site(page)).is_file()] == []
