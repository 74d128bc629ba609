"""What docstrings say of arguments and attributes, for the pages that are written from them."""

import inspect
import re
from collections.abc import Iterator


def split_arguments(text: str) -> tuple[str, str]:
    """Return what a docstring says before its arguments, and the lines about these."""
    before, _, arguments = text.partition("\n\nArgs:\n")
    return before, arguments


def read_attributes(documented: object) -> dict[str, str]:
    """Return what the docstring of a class says of each of its attributes."""
    text = inspect.getdoc(documented) or ""
    section = text.partition("\n\nAttributes:\n")[2].partition("\n\n")[0]
    return dict(read_entries(section))


def read_entries(section: str) -> Iterator[tuple[str, str]]:
    """Yield the names in a section of a docstring, and what is said of them, in one line."""
    for part in re.split(r"\n(?=    \w)", section):
        name, _, told = part.strip().partition(": ")
        yield name, " ".join(told.split()).replace("``", "`")
