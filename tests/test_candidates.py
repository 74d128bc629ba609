"""Tests of `router.candidates`: of each key one, in order, few or many."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from router import candidates
from router.candidates import Candidate, Candidates


def make(number: int, *, notification: int = 1, type_: str = "read") -> Candidate:
    """Return a candidate whose key is this number."""
    content = (f"$[{number}]", type_, "", "49", "49:ana", 7, None, -number)
    return Candidate(number.to_bytes(16), notification, type_, content)


@pytest.fixture(params=[candidates.FEW, 1])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Candidates]:
    """What is tested, with room in memory and without."""
    monkeypatch.setattr(candidates, "FEW", request.param)
    with closing(Candidates()) as found:
        yield found


def numbers(found: Candidates, size: int = 100) -> list[int]:
    """Return the keys in order, as the numbers that they are."""
    return [int.from_bytes(one.key) for batch in found.read(size) for one in batch]


def test_what_went_in_comes_out(found: Candidates) -> None:
    """In batches of any size, in the order in which it came."""
    given = [make(3), make(1, type_="sent"), make(2)]
    found.add(given[:2])
    found.add(given[2:])
    found.add([])

    assert list(found.read(2)) == [given[:2], given[2:]]
    assert len(found) == 3
    assert found.count_by_type() == {"read": 2, "sent": 1}


def test_of_a_key_the_first_stays(found: Candidates) -> None:
    """Within what is added at once, and from one time to the next."""
    found.add([make(1, notification=1), make(1, notification=2)])
    found.add([make(1, notification=3), make(2, notification=3)])

    [batch] = found.read(10)
    assert [one.notification_id for one in batch] == [1, 3]
    assert len(found) == 2


def test_what_is_dropped_is_gone(found: Candidates) -> None:
    """What was none makes no difference, and what is gone may come again."""
    found.add([make(number) for number in range(5)])
    found.drop(number.to_bytes(16) for number in (1, 3, 9))
    found.drop([])

    assert (numbers(found), len(found)) == ([0, 2, 4], 3)
    found.drop([(1).to_bytes(16)])
    found.add([make(3)])
    assert (numbers(found), len(found)) == ([0, 2, 4, 3], 4)


def test_what_was_read_may_be_dropped_meanwhile(found: Candidates) -> None:
    """The rest is read on all the same."""
    found.add([make(number) for number in range(10)])
    seen = []
    for batch in found.read(3):
        seen += [int.from_bytes(one.key) for one in batch]
        found.drop(one.key for one in batch)

    assert seen == list(range(10))
    assert len(found) == 0
