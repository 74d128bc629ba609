"""The recipes of docs/examples, each carried out as its README says."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RECIPES = sorted(readme.parent.name for readme in EXAMPLES.glob("*/README.md"))


def require(*modules: str) -> None:
    """Skip what needs ``modules`` where they are not installed, and say how to have them."""
    for name in modules:
        pytest.importorskip(name, reason=f"{name} is missing: uv run --group recipes pytest")
