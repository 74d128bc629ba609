"""What all tests of a process share, though each opens logs of its own: it takes a third to half.

A store of the product compiles each statement once; a thousand stores would do so a thousand times.
"""

from functools import cache
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.util import LRUCache

from router.schema import make_tables

Key = tuple[Any, ...]  # of a statement: the dialect of its engine, and what it is by its form


class Compiled(LRUCache[Key, Any]):
    """Compiled statements, for all engines of one kind: their dialects are equally good."""

    def get(self, key: Key, default: Any = None) -> Any:  # noqa: ANN401 - a compiled statement
        """Return what a statement was compiled to."""
        return super().get(_generalise(key), default)

    def __setitem__(self, key: Key, value: Any) -> None:  # noqa: ANN401 - likewise
        """Keep what a statement was compiled to."""
        super().__setitem__(_generalise(key), value)


def _generalise(key: Key) -> Key:
    dialect, *form = key
    return (type(dialect), dialect.server_version_info, *form)


def begin(patch: pytest.MonkeyPatch) -> None:
    """Share tables and compiled statements until ``patch`` is undone."""
    once = cache(make_tables)
    for module in ("app", "host", "store"):
        patch.setattr(f"router.{module}.make_tables", once)
    compiled = Compiled(5_000)

    def create(*arguments: Any, **options: Any) -> Engine:  # noqa: ANN401 - of an engine
        engine = create_engine(*arguments, **options)
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    for module in ("sqlite", "postgresql"):
        patch.setattr(f"router.{module}.create_engine", create)
