"""The how-to pages keep their word: what they show is what the router takes."""

import ast
import json
import re
from pathlib import Path

import pytest

from router.config import load
from router.host import Host
from router.options import merge_options

PAGES = sorted((Path(__file__).parents[1] / "docs" / "how-to").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(kind, text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, (kind, text) in enumerate(BLOCK.findall(page.read_text("utf-8")), start=1)
]


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    """Give a test all blocks of these kinds."""
    found = [block for block in BLOCKS if block.values[0] in kinds]
    return pytest.mark.parametrize(("kind", "text"), found)


def test_every_block_is_of_a_kind_that_is_tried() -> None:
    """There are pages, and nothing in them is left out below or in `test_docs_*`."""
    assert {block.values[0] for block in BLOCKS} == {*("toml", "python", "console", "sql", "json")}


@of_kind("python")
def test_plugins_load(kind: str, text: str, tmp_path: Path) -> None:
    """What is shown as a plugin is one, and everything else is Python."""
    ast.parse(text)
    if "@hookimpl" in text and "from shop." not in text:  # the shop is run by tests/embedding
        (tmp_path / "crm.py").write_text(text, encoding="utf-8")
        Host.load(directories=[tmp_path], entry_points=()).require_sound()


@of_kind("json")
def test_bodies_are_json(kind: str, text: str) -> None:
    """What is shown of a body can be read."""
    json.loads(text)


@of_kind("toml")
def test_settings_are_read(kind: str, text: str, tmp_path: Path) -> None:
    """What is shown of `router.toml` is taken, with the options of its subscriptions."""
    file = tmp_path / "router.toml"
    file.write_text(text, encoding="utf-8")
    found = load(file, environ={}, working=tmp_path, overrides={})
    for name, options in found.subscriptions.items():
        merge_options({}, options, where=name)
