"""Bodies that nobody should send, and somebody will: by what is wrong with them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from router import bodies
from router.errors import Unreadable

Bodies = Callable[[Sequence[bytes]], Iterator[bytes]]

DEEP = 100_000  # levels
LONG = "x" * 100_000
NUL, HALF = "a\0b", "\ud83e"  # half of a surrogate pair
KINDS: tuple[object, ...] = (None, True, 0, -1.5, "", [], {}, [[]], [None], {"": None})
VALUES = (b"null", b"true", b"0", b'""', b'"text"', b"[]", b"{}", b"[null]", b"[{}]", b"[[]]")


def _empty(_samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from (b"", b" ", b"\r\n\t ")


def _no_json(_samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from (b"<html><body>502</body></html>", b"a=1&b=2", b"undefined", b"{'a': 1}", b"\0")


def _no_utf8(samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from (b"\xff\xfe\x00", b'"\xc3"', b'{"\xff": 1}')
    for sample in samples:
        yield sample.replace(b'"', b'"\xff', 3)
        yield sample.decode("utf-8", "replace").encode("utf-16")


def _cut_short(samples: Sequence[bytes]) -> Iterator[bytes]:
    for sample in samples:
        for part in (0.01, 0.25, 0.5, 0.9):
            yield sample[: int(len(sample) * part)]
        yield sample[:-1]


def _trailing(samples: Sequence[bytes]) -> Iterator[bytes]:
    for sample in samples:
        yield from (sample + b"\n\n", sample + b"x", sample + sample, b"\xef\xbb\xbf" + sample)


def _deep(_samples: Sequence[bytes]) -> Iterator[bytes]:
    yield b"[" * DEEP + b"]" * DEEP
    yield b'{"a":' * DEEP + b"1" + b"}" * DEEP
    yield b"[" * DEEP
    yield b"[" * 400 + b"]" * 400


def _values(_samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from VALUES


def _numbers(samples: Sequence[bytes]) -> Iterator[bytes]:
    for number in (b"1e999", b"-1e999", b"9" * 400, b"NaN", b"1e-999", b"-0"):
        yield number
        for data in _read(samples):
            for changed in _with_texts(data, "\x01"):
                yield json.dumps(changed).encode().replace(b'"\\u0001"', number)


def _nul(samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from (b"\0" * 10, b'"\0"', b'{"a":"\\u0000"}')
    yield from _texts(samples, NUL)


def _surrogates(samples: Sequence[bytes]) -> Iterator[bytes]:
    yield b'{"\\ud83e": "\\ud83e"}'
    yield from _texts(samples, HALF)


def _long(samples: Sequence[bytes]) -> Iterator[bytes]:
    yield from _texts(samples, LONG)


def _twice(samples: Sequence[bytes]) -> Iterator[bytes]:
    yield b'{"a": 1, "a": 2}'
    for data in _read(samples):
        text = json.dumps(data)
        if isinstance(data, dict) and data:
            yield f"{text[:-1]}, {text[1:]}".encode()


def _wrong_kinds(samples: Sequence[bytes]) -> Iterator[bytes]:
    """Yield each sample with each of its places holding what does not belong there."""
    for data in _read(samples):
        for steps in list(_places(data)):
            for kind in KINDS:
                yield json.dumps(put(data, steps, kind)).encode()


def _missing(samples: Sequence[bytes]) -> Iterator[bytes]:
    """Yield each sample without each of its places."""
    for data in _read(samples):
        for steps in list(_places(data)):
            changed = deepcopy(data)
            del _holder(changed, steps)[steps[-1]]
            yield json.dumps(changed).encode()


def _noise(samples: Sequence[bytes]) -> Iterator[bytes]:
    chance = Random(0)  # noqa: S311 - the same noise each time
    for _ in range(100):
        yield chance.randbytes(chance.randint(1, 60))
    for sample in samples:
        for _ in range(50):
            at = chance.randrange(len(sample) or 1)
            yield sample[:at] + chance.randbytes(chance.randint(0, 2)) + sample[at + 1 :]


# By the name of the case, with what it is about.
HOSTILE: Mapping[str, tuple[str, Bodies]] = {
    "empty": ("a body without anything", _empty),
    "no-json": ("HTML, a form, and other bodies that are not JSON", _no_json),
    "no-utf8": ("bytes that are not UTF-8", _no_utf8),
    "cut-short": ("bodies that were cut off", _cut_short),
    "trailing-data": ("more data behind the body, or a byte order mark", _trailing),
    "deep-nesting": ("100,000 levels", _deep),
    "bare-values": ("null, a number, a text, an empty list or object", _values),
    "numbers": ("numbers that no machine can hold, where texts are due", _numbers),
    "nul": ("NUL in every text", _nul),
    "surrogates": ("half of a surrogate pair in every text", _surrogates),
    "long-texts": ("100,000 characters in every text", _long),
    "duplicate-keys": ("keys that an object has twice", _twice),
    "wrong-kinds": ("every place with null, numbers, lists or objects in it", _wrong_kinds),
    "missing-places": ("every place left out", _missing),
    "noise": ("random bytes, and samples with random bytes in them", _noise),
}


def _read(samples: Sequence[bytes]) -> Iterator[object]:
    for sample in samples:
        try:
            yield bodies.decode(sample)
        except Unreadable:
            continue  # a form, say: what is changed in JSON cannot be changed in it


def _texts(samples: Sequence[bytes], text: str) -> Iterator[bytes]:
    for data in _read(samples):
        for changed in _with_texts(data, text):
            yield json.dumps(changed).encode()


def _with_texts(data: object, text: str) -> Iterator[object]:
    """Yield the data with ``text`` in each place of a text."""
    for steps in list(_places(data)):
        if isinstance(_holder(data, steps)[steps[-1]], str):
            yield put(data, steps, text)


def _places(value: object, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield (*before, key)
        yield from _places(inner, (*before, key))


def put(data: object, steps: tuple[Any, ...], value: object) -> object:
    """Return the data with ``value`` at the end of ``steps``; what was given stays as it is."""
    changed = deepcopy(data)
    _holder(changed, steps)[steps[-1]] = value
    return changed


def _holder(data: Any, steps: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a list or a dict
    for step in steps[:-1]:
        data = data[step]
    return data
