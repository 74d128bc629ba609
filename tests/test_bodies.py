"""Tests of JSON as providers send it: what is readable, what is queryable, what goes out."""

import json
import math
import sqlite3

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from router.bodies import MAX_DEPTH, MAX_QUERYABLE_DEPTH, decode, encode, is_queryable
from router.errors import Unreadable
from router.testing.strategies import json_values


def nested(levels: int, inner: str = "") -> bytes:
    """Return a body of so many lists within one another."""
    return ("[" * levels + inner + "]" * levels).encode()


def query(body: bytes) -> bool:
    """Return whether ``body``, decoded, is queryable."""
    return is_queryable(body, decode(body))


# What is readable


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"a": [1, -2.5e3, true, null, "x"]}', {"a": [1, -2500.0, True, None, "x"]}),
        (b" \r\n\t[] \n", []),
        (b"0", 0),
        (b'"\xc3\xa4 \xf0\x9f\x98\x80"', "ä 😀"),
        (b'"\\u00e4 \\ud83d\\ude00 \\/ \\u0000"', "ä 😀 / \0"),
        (b'"\\ud800"', "\ud800"),
        (b'{"\\ude00": "\\ud83dx"}', {"\ude00": "\ud83dx"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1e999, -1e999, 1e-999]", [math.inf, -math.inf, 0.0]),
        (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"9" * 4000, int("9" * 4000)),
    ],
)
def test_readable(body: bytes, data: object) -> None:
    """One JSON value in UTF-8 is readable, with what real senders add to the standard."""
    assert decode(body) == data


def test_nan() -> None:
    """NaN is readable, though no number and not JSON."""
    data = decode(b'{"price": NaN}')
    assert isinstance(data, dict)
    assert math.isnan(data["price"])


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"[1", b'"', b"nul", b"<html></html>", b"a=1&b=2", b"'a'"),
        *(b"{} {}", b"{}x", b"{}\0", b'{"a": 1}}', b"1 2", b"[]\xc2\xa0"),
        *(b"[1,]", b'{"a": 1,}', b"{a: 1}", b"01", b"+1", b".5", b"1.", b"-", b"0x1"),
        *(b'"\n"', b'"\x00"', b'"\\x"', b'"\\u12"', b"// x\n1"),
        *(b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"\xff", b'{"a": "\xff"}', b'{"\xff": 1}'),
        *(b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'{"skipped": "\xe4", "messages": []}'),
        *(b"9" * 5000, nested(MAX_DEPTH + 1), nested(100_000), b"[" * 100_000),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_unreadable(body: bytes) -> None:
    """What is empty, no JSON, not UTF-8, too deep or followed by more is refused, and says why."""
    with pytest.raises(Unreadable, match=r"^the body is not one JSON value in UTF-8: \S"):
        decode(body)


@pytest.mark.parametrize("inner", ["", "1", '"[{"'])
def test_deepest(inner: str) -> None:
    """The depth that is readable is a number of levels, the innermost value among them."""
    deepest = MAX_DEPTH - (1 if inner else 0)
    decode(nested(deepest, inner))
    with pytest.raises(Unreadable, match="nested too deeply"):
        decode(nested(deepest + 1, inner))


def test_wide() -> None:
    """Any number of brackets beside one another is readable."""
    body = b"[" + b",".join([b'{"a":[]}'] * 2000) + b"]"
    assert decode(body) == [{"a": []}] * 2000


def test_same_from_any_depth_of_the_stack() -> None:
    """What is readable does not depend on how deep in other code it is asked."""

    def read(frames: int, body: bytes) -> bool:
        if frames:
            return read(frames - 1, body)
        try:
            decode(body)
        except Unreadable:
            return False
        return True

    for levels in (MAX_DEPTH, MAX_DEPTH + 1):
        assert read(0, nested(levels)) == read(200, nested(levels)) == (levels == MAX_DEPTH)


@given(st.binary() | st.text('{}[]",:0123456789.eE+-\\unltrfasNI\n\t ä').map(str.encode))
@example(b"-0")
@example(b"1E+2")
def test_same_as_the_standard_library(body: bytes) -> None:
    """Any bytes are readable just where the standard library reads them, and refused elsewhere."""
    try:
        expected = [json.loads(body.decode())]
    except ValueError:
        expected = []
    try:
        found = [decode(body)]
    except Unreadable:
        found = []
    assert repr(found) == repr(expected)


# What goes out


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"a": ["ä", 1.5, None]}, '{"a":["ä",1.5,null]}'.encode()),
        ([math.nan, math.inf, -math.inf], b"[null,null,null]"),
        (["\ud800", "ä"], b'["\\ud800","\\u00e4"]'),
        ({"\ud800": math.nan, "b": math.inf}, b'{"\\ud800":null,"b":null}'),
        ("NaN \ud800 Infinity", b'"NaN \\ud800 Infinity"'),
        ({1: "\ud800"}, b'{"1":"\\ud800"}'),
        (2**100, b"1267650600228229401496703205376"),
        ("a\nb\u2028", '"a\\nb\u2028"'.encode()),
    ],
)
def test_encode(value: object, line: bytes) -> None:
    """What goes out is JSON on one line: surrogates escaped, what is no number null."""
    assert encode(value) == line


@given(json_values())
def test_encode_any(value: object) -> None:
    """Any value goes out as one line of UTF-8 that strict JSON readers take."""

    def refuse(name: str) -> object:
        raise AssertionError(name)

    line = encode(value)
    assert b"\n" not in line
    json.loads(line.decode(), parse_constant=refuse)


def test_encode_deepest() -> None:
    """The deepest body that is readable goes out again, with or without escapes."""
    for inner in ("", '"\\ud800"'):
        body = nested(MAX_DEPTH - 1, inner)
        assert encode(decode(body)) == body


# What is queryable


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"1",
        b'{"a": {"a": [{"a": 1}, {"a": 1}]}}',
        b'{"a" : 1, "b"\n:\t2}',
        b'{"text": "\\": \\" : \\"a\\": 1"}',
        b'{"a\\\\": 1, "a": 2}',
        b'{"text": "\\\\u0000 \\\\\\\\u0000"}',
        b'{"text": "\\ud83d\\ude00 \\u00e4"}',
        b'{"text": "NaN Infinity I N", "latitude": 0.0}',
        b'{"text": "e99999 1e99999", "latitude": 19.4326077e+00}',
        nested(MAX_QUERYABLE_DEPTH),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_queryable(body: bytes) -> None:
    """Ordinary JSON is queryable, whatever its strings look like."""
    assert query(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'[[{"b": {"a": 1, "c": 0, "a": 1}}]]',
        b'{"a":1,"a" :2}',
        b'{"a":1,"a"\n:2}',
        b'{"a" :1,"a":"\\":"}',
        b'{"a":1,"\\u0061":2}',
        b'{"a\\\\":1,"a\\\\" :2}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'[["\\\\\\u0000"]]',
        b'{"a": "\\ud800"}',
        b'{"\\udc00": 1}',
        b"[NaN]",
        b'{"a": [{"b": -Infinity}]}',
        b"[1e999]",
        b"[1e-200000]",
        b"[0, 0E400000]",
        b"[-0.0e-" + b"9" * 30 + b"]",
        b"[0." + b"0" * 20_000 + b"]",
        b"[1" + b"0" * 20_000 + b"e-20000]",
        nested(MAX_QUERYABLE_DEPTH + 1),
        nested(MAX_DEPTH),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_not_queryable(body: bytes) -> None:
    """What some engine refuses, or answers differently, is not queryable."""
    assert not query(body)


@given(json_values(), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), (",\n", "\t:")]))
def test_queryable_means_so(value: object, separators: tuple[str, str]) -> None:
    """An engine reads what is called queryable, and finds there what we do."""
    body = json.dumps(value, separators=separators).encode()
    assume(query(body))
    with sqlite3.connect(":memory:") as connection:
        (again,) = connection.execute("SELECT json(?)", [body.decode()]).fetchone()
    connection.close()
    assert decode(again.encode()) == decode(body)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", " ", "\n"])), max_size=4))
def test_duplicate_keys(keys: list[tuple[str, str]]) -> None:
    """An object is queryable when no key stands in it twice, wherever the colons stand."""
    members = ",".join(f'"{key}"{space}:"\\":"' for key, space in keys)
    names = [key for key, _ in keys]
    assert query(f"{{{members}}}".encode()) == (len(names) == len(set(names)))
