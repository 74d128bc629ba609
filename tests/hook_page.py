"""The page of hooks, written from `router.hookspecs`: `python -m tests.hook_page` prints it."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from router import hookspecs
from router.handlers import HOOKS
from tests.docstrings import read_entries, split_arguments

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "hooks.md"
TOP = """# Hooks

What a plugin may implement. A hook implementation is a function of a module, or a method of an
object, that bears the hook's name beneath `@hookimpl`. It names only those of the arguments that it
wants, in any order; any other name, and any hook that is not here, is an error when the plugin is
loaded. Those of events and alerts may be `async def`, and so may `on_start` and `on_stop`; the
others are plain. This page is written from `router/hookspecs.py`.
"""


def render() -> str:
    """Return the page."""
    tree = ast.parse(inspect.getsource(hookspecs))
    nodes = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name in HOOKS]
    return "\n".join([TOP, *("\n".join(_describe(node)) for node in nodes)])


def _describe(node: ast.FunctionDef) -> Iterator[str]:
    quoted = getattr(node.returns, "value", None)  # what is imported for type checking alone
    returns = quoted if isinstance(quoted, str) else ast.unparse(node.returns or ast.Constant(None))
    yield f"## {node.name}\n"
    yield f"```python\ndef {node.name}({ast.unparse(node.args)}) -> {returns}: ...\n```\n"
    text, arguments = split_arguments(ast.get_docstring(node) or "")
    yield text.replace("``", "`") + "\n"
    if arguments:
        yield "".join(f"- `{name}`: {told}\n" for name, told in read_entries(arguments))


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - that is what it is for
