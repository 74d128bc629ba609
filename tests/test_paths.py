"""Tests of paths: what they name, what holds it, and what is no path."""

import pytest
from hypothesis import given

from router import paths
from router.testing.strategies import json_values
from tests.elements import find_paths

DATA: dict[str, object] = {
    "entry": [{"changes": [{"value": {"messages": [{"id": "1"}, {"id": "2"}]}}]}],
    "odd name.[0]": {"ä": None},
    "text": "abc",
}


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", ()),
        ("$.entry[0].changes[12]", ("entry", 0, "changes", 12)),
        ("$[0][1]", (0, 1)),
        ('$."odd name.[0]"._x1', ("odd name.[0]", "_x1")),
    ],
)
def test_parse(path: str, steps: tuple[str | int, ...]) -> None:
    """A path is read as its steps: names and indexes."""
    assert paths.parse(path) == steps


@pytest.mark.parametrize(
    "path",
    [
        *("", "entry", ".entry", "$entry", "$.", "$..a", "$.a b", "$.ä", "$ ", "$.a\n"),
        *("$[]", "$[-1]", "$[x]", "$[*]", "$[1", "$[\N{ARABIC-INDIC DIGIT ONE}]"),
        *('$.""', '$."a', '$."a\\"b"'),
    ],
)
def test_no_path(path: str) -> None:
    """What is no such path is refused, and the message shows it."""
    with pytest.raises(ValueError, match="path"):
        paths.parse(path)
    with pytest.raises(ValueError, match="path"):
        paths.find(DATA, path)


@pytest.mark.parametrize(
    ("path", "element"),
    [
        ("$", DATA),
        ("$.entry[0].changes[0].value.messages[1].id", "2"),
        ('$."odd name.[0]"', {"ä": None}),
        ('$."odd name.[0]"."ä"', None),
    ],
)
def test_find(path: str, element: object) -> None:
    """A path finds its element, also one that is null."""
    assert paths.find(DATA, path) == element


@pytest.mark.parametrize(
    "path",
    [
        "$.none",
        "$.entry[1]",
        "$.entry.changes",
        "$[0]",
        "$.text[0]",
        "$.text.x",
        f"$.entry[{9**99}]",
    ],
)
def test_no_element(path: str) -> None:
    """Where there is no such element, a `LookupError` says so: a character of a text is none."""
    with pytest.raises(LookupError):
        paths.find(DATA, path)


def test_find_parent() -> None:
    """The parent is the nearest object around the element; the root has none."""
    value = paths.find(DATA, "$.entry[0].changes[0].value")
    assert paths.find_parent(DATA, "$.entry[0].changes[0].value.messages[1]") is value
    assert paths.find_parent(DATA, "$.text") is DATA
    assert paths.find_parent(DATA, "$") is None
    assert paths.find_parent([[1]], "$[0][0]") is None


@given(json_values())
def test_every_place(value: object) -> None:
    """Each place in any value has a path that finds it, unless a key holds what a path cannot."""
    for path, element in find_paths(value):
        assert paths.find(value, path) is element
