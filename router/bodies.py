"""JSON as providers send it: what is readable, what SQL can query, what goes out again."""

import json
from collections.abc import Iterator
from itertools import islice
from math import isfinite

import msgspec

from router.errors import Unreadable

MAX_DEPTH = 500  # a fixed number of levels, lest the caller's own stack decide what is readable
MAX_QUERYABLE_DEPTH = 100  # SQLite's parser stops at 1,000 levels, PostgreSQL's at its stack
MAX_NUMBER = 1_000  # characters; exponents, likewise: PostgreSQL keeps 16,383 digits of a fraction

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode(body: bytes) -> object:
    """Return the one JSON value in ``body``.

    Where msgspec refuses, the standard library decides: it also takes escaped lone surrogates,
    numbers out of range and NaN, all of which real senders emit.

    Raises:
        Unreadable: The body is empty, not UTF-8, not JSON, followed by more data or has more than
            `MAX_DEPTH` levels.
    """
    try:
        data = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        data = _decode_leniently(body)
    # Each level but the innermost takes two bytes and an opening bracket: few bodies have so many.
    if (
        len(body) > 2 * MAX_DEPTH
        and body.count(b"[") + body.count(b"{") >= MAX_DEPTH
        and any(True for _ in islice(_levels(data), MAX_DEPTH, None))
    ):
        raise Unreadable(_explain("nested too deeply"))
    return data


def find(data: object, *path: str | int) -> object:
    """Return what is at the end of ``path`` in decoded JSON; None where nothing is there."""
    for step in path:
        if isinstance(data, dict) and isinstance(step, str):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and len(data) > step:
            data = data[step]
        else:
            return None
    return data


def _decode_leniently(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8"))
    except RecursionError as error:
        raise Unreadable(_explain("nested too deeply")) from error
    except ValueError as error:
        raise Unreadable(_explain(str(error))) from error


def _explain(reason: str) -> str:
    return f"the body is not one JSON value in UTF-8: {reason}"


def encode(value: object) -> bytes:
    """Return ``value`` as one line of JSON; what UTF-8 cannot hold is escaped, NaN is null."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, msgspec.MsgspecError, RecursionError, OverflowError):
        text = json.dumps(value, default=msgspec.to_builtins)
        finite = json.loads(text, parse_constant=lambda _: None)  # null, as msgspec writes it
        return json.dumps(finite, separators=(",", ":")).encode("ascii")


def is_queryable(body: bytes, data: object) -> bool:
    """Whether every SQL engine reads ``body`` as JSON and finds in it what ``data`` holds.

    False for what engines refuse or answer differently: NUL characters, lone surrogates, numbers
    out of range, even if they are as good as zero, NaN, duplicate keys, and nesting beyond
    `MAX_QUERYABLE_DEPTH`. ``data`` is ``decode(body)``.
    """
    if _is_canonical(body, data):
        return True
    keys, has_floats = _count_keys(data)
    if keys is None or (has_floats and _has_odd_number(body)):
        return False
    if b"\\u" in body and not (_is_strict(body) and _is_free_of_nul(body, data)):
        return False
    # A quote and a colon end a key, unless they stand in a string: as many as there are keys means
    # that none was given twice. Only otherwise is the slow, exact count worth its time.
    is_plain = body.count(b'":') == keys and not _has_space_before_colon(body)
    return is_plain or not _has_duplicate_key(body)


def _is_canonical(body: bytes, data: object) -> bool:
    """Whether ``body`` is what we would write ourselves: most are, and nothing is odd in those.

    A key that came twice would be there once, a number out of range would be null.
    """
    is_flat = body.count(b"{") + body.count(b"[") <= MAX_QUERYABLE_DEPTH
    if not is_flat or b"\\" in body:
        return False
    try:
        return _encode(data) == body
    except (UnicodeEncodeError, msgspec.MsgspecError, OverflowError):
        return False


def _levels(data: object) -> Iterator[list[object]]:
    """Yield the values of ``data`` level by level; not by recursion, for depth costs stack."""
    level = [data]
    while level:
        yield level
        below: list[object] = []
        for value in level:
            if type(value) is dict:
                below.extend(value.values())
            elif type(value) is list:
                below.extend(value)
        level = below


def _count_keys(data: object) -> tuple[int | None, bool]:
    """Count the keys of ``data``, and tell whether it holds any number that is no integer.

    The count is None where the depth or a number is too much for an engine.
    """
    keys = depth = 0
    has_floats = False
    level = [data]
    while level:
        depth += 1
        below: list[object] = []
        for value in level:
            if type(value) is dict:
                keys += len(value)
                below.extend(value.values())
            elif type(value) is list:
                below.extend(value)
            elif type(value) is float:
                has_floats = True
                if not isfinite(value):
                    return None, True
        level = below
    return (keys if depth <= MAX_QUERYABLE_DEPTH else None), has_floats


def _has_odd_number(body: bytes) -> bool:
    """Whether a number is written in a way that is too long for an engine, whatever its value."""
    found = False

    def note(text: str) -> float:
        nonlocal found
        exponent = text.lower().partition("e")[2].lstrip("+-0")
        is_long = len(text) > MAX_NUMBER or len(exponent) > len(str(MAX_NUMBER))
        found = found or is_long or int(exponent or 0) > MAX_NUMBER
        return 0.0

    try:
        json.loads(body, parse_float=note)
    except (ValueError, RecursionError):
        return True
    return found


def _is_strict(body: bytes) -> bool:
    """Whether msgspec reads ``body``, which is stricter with escaped surrogates than `decode`."""
    try:
        _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_free_of_nul(body: bytes, data: object) -> bool:
    if b"\\u0000" not in body:  # behind an escaped backslash it is no NUL: only then look closer
        return True
    return not any(
        "\0" in text
        for level in _levels(data)
        for value in level
        for text in (value if type(value) is dict else [value])
        if type(text) is str
    )


def _has_space_before_colon(body: bytes) -> bool:
    if b" :" in body:
        return True
    return any(space in body and space + b":" in body for space in (b"\n", b"\r", b"\t"))


def _has_duplicate_key(body: bytes) -> bool:
    found = False

    def note(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal found
        made = dict(pairs)
        found = found or len(made) != len(pairs)
        return made

    try:
        json.loads(body, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return True
    return found
