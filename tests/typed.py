"""Type checks of what users write: what mypy made of the router itself serves the next check."""

import importlib.util
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".mypy_cache" / "of-tests"  # by content: folders may differ

# Ten seconds the first time, and whoever has no type checker is not to wait for one.
if_typed = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="the group types is not installed"
)
