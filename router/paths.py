"""Pointers into a decoded body: the small part of JSONPath that every SQL engine reads too.

A path is ``$`` followed by ``.name``, ``."any name"`` and ``[index]`` steps, for example
``$.entry[0].changes[0].value.messages[0]``.
"""

import re
from functools import lru_cache

Step = str | int

_STEP = re.compile(
    r'\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\."(?P<quoted>[^"\\]+)"|\[(?P<index>[0-9]+)\]'
)


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Step, ...]:
    """Return the steps of ``path``.

    Raises:
        ValueError: It is not such a path.
    """
    if not path.startswith("$"):
        raise ValueError(f"path {path!r} does not start with $")
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f"path {path!r} cannot be read at character {at}")
        index = match["index"]
        steps.append(int(index) if index else match["name"] or match["quoted"])
        at = match.end()
    return tuple(steps)


def find(data: object, path: str) -> object:
    """Return the element of ``data`` at ``path``.

    Raises:
        LookupError: There is no such element.
        ValueError: It is not a path.
    """
    return _follow(data, parse(path))


def find_parent(data: object, path: str) -> object:
    """Return the object that holds the element at ``path``, lists between them skipped.

    The root has no parent: None.
    """
    steps = parse(path)
    end = len(steps)
    while end and isinstance(steps[end - 1], int):
        end -= 1
    return _follow(data, steps[: end - 1]) if end else None


def _follow(data: object, steps: tuple[Step, ...]) -> object:
    for step in steps:
        kind = dict if isinstance(step, str) else list  # text can be indexed, but has no elements
        if type(data) is not kind:
            raise LookupError(f"{step!r} is looked up in {type(data).__name__}")
        data = data[step]  # type: ignore[index]  # the line above has made sure
    return data
