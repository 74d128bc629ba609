"""Hypothesis strategies that several tests share."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

_WORDS = ["id", "type", "status", "from", "field", "value", "messages", "statuses", "errors"]
_WORDS += ["entry", "changes", "contacts", "metadata", "timestamp", "read", "failed", "code"]

Place = tuple[dict[str, object], str] | tuple[list[object], int]


def json_values() -> SearchStrategy[object]:
    """Return any JSON value, with lone surrogates, NUL, NaN, huge numbers and known words."""
    texts = st.text(st.characters()) | st.sampled_from(_WORDS)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=12
    )


@st.composite
def mutated(draw: DrawFn, originals: Sequence[object]) -> bytes:
    """Return the body of one of ``originals`` with some of its places, and a byte, changed."""
    value = deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_find_places(value))
        if places:
            _change(draw, draw(st.sampled_from(places)))
    body = json.dumps(value).encode()
    at = draw(st.none() | st.integers(0, len(body)))
    return body if at is None else body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]


def _find_places(value: object) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _find_places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _find_places(inner)


def _change(draw: DrawFn, place: Place) -> None:
    holder, key = place
    kept = holder[key]  # type: ignore[index]  # they come as fitting pairs
    match draw(st.sampled_from(["replace", "remove", "wrap", "repeat"])):
        case "replace":
            made = draw(json_values())
        case "wrap":
            made = [kept]
        case "repeat":
            made = [kept, kept]
        case _:
            del holder[key]  # type: ignore[arg-type]
            return
    holder[key] = made  # type: ignore[index]


def find_paths(value: object, path: str = "$") -> Iterator[tuple[str, object]]:
    """Yield each element of ``value`` with its path, as far as paths reach."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            if key and '"' not in key and "\\" not in key:
                yield from find_paths(inner, f'{path}."{key}"')
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_paths(inner, f"{path}[{index}]")
