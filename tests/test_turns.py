"""Tests of `router.turns`: one call per subject at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from router.turns import Places, Turns
from tests.loops import in_loop
from tests.waiting import until


class Player:
    """Takes turns in tasks of its own and tells who has had one.

    Attributes:
        had: Who got a turn, in order.
    """

    def __init__(self, turns: Turns) -> None:
        self.had: list[str] = []
        self._turns = turns

    async def line_up(
        self, name: str, *, subject: str = "a", first: bool = True
    ) -> asyncio.Task[None]:
        """Ask for a turn; return the task once it waits, or has its turn."""

        async def take() -> None:
            await self._turns.take(subject, first=first)
            self.had.append(name)

        task = asyncio.get_running_loop().create_task(take())
        await asyncio.sleep(0)
        return task

    async def pass_on(self, count: int, *, subject: str = "a") -> None:
        """Give the turn back and wait until so many have had theirs."""
        self.give_back(subject)
        await until(lambda: len(self.had) == count)

    def give_back(self, subject: str = "a") -> None:
        """Give the turn back."""
        self._turns.give_back(subject)


def play(test: Callable[[Player], Awaitable[None]]) -> None:
    """Run ``test`` with fresh turns."""

    async def main() -> None:
        await test(Player(Turns()))

    asyncio.run(main())


def test_subjects_do_not_wait_for_one_another() -> None:
    """Each subject has a turn of its own."""

    async def test(player: Player) -> None:
        await player.line_up("one", subject="a")
        await player.line_up("two", subject="b")
        assert player.had == ["one", "two"]

    play(test)


def test_one_turn_a_subject_at_a_time() -> None:
    """Whoever comes while a subject's turn is taken waits for it, in the order of coming."""

    async def test(player: Player) -> None:
        for name in ("one", "two", "three"):
            await player.line_up(name)
        assert player.had == ["one"]
        await player.pass_on(2)
        assert player.had == ["one", "two"]
        await player.pass_on(3)
        assert player.had == ["one", "two", "three"]

    play(test)


def test_live_delivery_comes_first() -> None:
    """Those that come first pass the others that wait, but not each other."""

    async def test(player: Player) -> None:
        await player.line_up("now", first=False)
        await player.line_up("replay 1", first=False)
        await player.line_up("replay 2", first=False)
        await player.line_up("live 1")
        await player.line_up("live 2")
        for count in range(2, 6):
            await player.pass_on(count)
        assert player.had == ["now", "live 1", "live 2", "replay 1", "replay 2"]

    play(test)


def test_a_turn_that_nobody_waits_for_is_free_again() -> None:
    """After the last one has given it back, the next to come has its turn at once."""

    async def test(player: Player) -> None:
        await player.line_up("one")
        await player.pass_on(1)
        await player.line_up("two")
        assert player.had == ["one", "two"]

    play(test)


def test_whoever_gives_up_waiting_is_passed_over() -> None:
    """A cancelled wait costs the others nothing."""

    async def test(player: Player) -> None:
        await player.line_up("one")
        gone = await player.line_up("two")
        await player.line_up("three")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await player.pass_on(2)
        assert player.had == ["one", "three"]

    play(test)


def test_a_turn_handed_to_somebody_just_cancelled_goes_on() -> None:
    """A turn is not lost when its new holder is cancelled in the moment of the handing over."""

    async def test(player: Player) -> None:
        await player.line_up("one")
        gone = await player.line_up("two")
        await player.line_up("three")
        player.give_back()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await until(lambda: player.had == ["one", "three"])

    play(test)


def test_nothing_is_kept_of_subjects_without_a_turn() -> None:
    """Memory is bounded by the turns that are taken, not by the subjects ever seen."""
    turns = Turns()

    async def take_and_give_back() -> None:
        for number in range(100):
            await turns.take(str(number), first=True)
            turns.give_back(str(number))

    asyncio.run(take_and_give_back())
    assert not turns._waiting


@in_loop
async def test_places_are_handed_on_in_line() -> None:
    """No more have one than there are; whoever has come first is next."""
    places, had = Places(2), []

    async def take(name: str) -> None:
        await places.take()
        had.append(name)

    assert places.try_take()
    tasks = [asyncio.ensure_future(take(name)) for name in "abc"]
    await until(lambda: had == ["a"])
    assert places.is_full
    assert not places.try_take()
    places.give_back()
    await until(lambda: had == ["a", "b"])
    places.give_back()
    await asyncio.gather(*tasks)
    for _ in range(2):
        places.give_back()
    assert [places.try_take() for _ in range(3)] == [True, True, False]


@in_loop
async def test_a_place_that_is_not_wanted_any_more_goes_to_the_next() -> None:
    """Nobody keeps one whose task was cancelled, before it had it or in that very moment."""
    places = Places(1)
    await places.take()
    gone, lucky, last = (asyncio.ensure_future(places.take()) for _ in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    places.give_back()
    lucky.cancel()
    await last
    assert places.is_full
    places.give_back()
    assert places.try_take()
