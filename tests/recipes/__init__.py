"""The recipes of docs/examples, each carried out as its README says."""

from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RECIPES = sorted(readme.parent.name for readme in EXAMPLES.glob("*/README.md"))
