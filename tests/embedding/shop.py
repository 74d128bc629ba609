"""The shop of the page on embedding: its files, as they are shown, and its database."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from textwrap import dedent
from types import ModuleType

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, inspect, text

from router.migrate import find_drift
from router.schema import make_tables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "embed.md").read_text("utf-8")
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SECRETS = {"WA_SECRET": "of the app", "WA_TOKEN": "agreed"}

FIRST = '''
"""The shop's orders."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.create_table(
        "shop_order",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("state", sa.String(20), nullable=False),
    )
'''


def find_files() -> dict[str, str]:
    """Return the files of the page by their paths, and the first revision, which it leaves out."""
    files = {"migrations/versions/0001_orders.py": FIRST}
    for _, kind, block in BLOCK.findall(PAGE):
        content = dedent(block)
        if kind == "python":
            name = content.splitlines()[0].removeprefix("# ")
            files[name] = content
        elif kind == "ini":
            files["alembic.ini"] = content
    return files


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with the files of the page, and an empty database.

    Attributes:
        folder: Of the project.
        url: Of its database.
    """

    folder: Path
    url: str

    def upgrade(self, section: str = "alembic") -> None:
        """Run ``alembic upgrade head``, with this section of its configuration."""
        command.upgrade(self._configure(section), "head")

    def require_clean(self) -> None:
        """Fail unless the host's alembic and the router's find nothing to do."""
        for section in ("alembic", "router"):
            command.check(self._configure(section))
        with self.looking() as engine:
            assert find_drift(engine, make_tables(prefix="notify_")) == []

    def _configure(self, section: str) -> Config:
        return Config(self.folder / "alembic.ini", ini_section=section, stdout=StringIO())

    def run(self, *words: str) -> str:
        """Run a command ``alembic`` as the page has it, in a process of its own."""
        ended = subprocess.run(
            [sys.executable, "-m", "alembic", *words], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    @property
    def environ(self) -> dict[str, str]:
        """What the page leaves to the environment."""
        return {"SHOP_DATABASE": self.url, "ROUTER_DATABASE": self.url, **SECRETS}

    @contextmanager
    def looking(self) -> Iterator[Engine]:
        """Yield an engine to look at the database with."""
        engine = create_engine(self.url)
        yield engine
        engine.dispose()

    def find_tables(self) -> set[str]:
        """Return the names of all tables."""
        with self.looking() as engine:
            return set(inspect(engine).get_table_names())

    def find_revisions(self) -> tuple[list[str], list[str]]:
        """Return what the host's table of versions says, and what the router's does."""
        return self.ask("SELECT * FROM alembic_version"), self.ask(
            "SELECT * FROM notify_router_schema_version"
        )

    def ask(self, query: str) -> list[str]:
        """Return the first column of what a query finds; nothing where the table is missing."""
        if query.rsplit(maxsplit=1)[-1] not in self.find_tables():
            return []
        with self.looking() as engine, engine.connect() as connection:
            return list(connection.scalars(text(query)))


def load(name: str) -> ModuleType:
    """Import a module of the shop, whose folder is on the path."""
    return importlib.import_module(f"shop.{name}")


def forget() -> None:
    """Let go of what was imported, so that the next test imports its own."""
    if "shop.application" in sys.modules:
        load("application").router.log.store.close()
    if "shop.database" in sys.modules:
        load("database").engine.dispose()
    for name in [one for one in sys.modules if one.partition(".")[0] == "shop"]:
        del sys.modules[name]
