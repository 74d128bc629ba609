"""Tests of what a harness tells of deliveries."""

import asyncio

from router import Event, Reject, hookimpl
from router.testing import notifications
from router.testing.harness import Harness
from tests.loops import in_loop


class Crm:
    """A plugin that fails on texts that say so."""

    plugin_name = "crm"

    @hookimpl
    def on_message(self, event: Event) -> None:
        """Fail as the text says."""
        if b"busy" in event.notification.body:
            raise ValueError
        if b"reject" in event.notification.body:
            raise Reject("nobody's")


async def receive(harness: Harness, *texts: str) -> None:
    """Let customers write these texts, each from a number of their own."""
    for number, text in enumerate(texts):
        await harness.receive(notifications.message(text, sender=f"1201555010{number}"))


@in_loop
async def test_they_are_a_sequence(harness: Harness) -> None:
    """They can be counted, taken apart and printed, in order of the log."""
    harness.use(Crm())
    await receive(harness, "fine", "busy", "reject")
    await harness.drain()
    deliveries = harness.deliveries()
    assert repr(deliveries) == "<3 deliveries: 1 message done, 2 message parked, 3 message dead>"
    assert [one.event.position for one in deliveries[1:]] == [2, 3]
    assert deliveries[-1] == deliveries.dead[0]
    assert (len(deliveries.done), len(deliveries.parked), len(deliveries.blocked)) == (1, 1, 0)


@in_loop
async def test_errors_are_told_as_they_were_raised(harness: Harness) -> None:
    """What the handler raised is there itself, and in words."""
    harness.use(Crm())
    await receive(harness, "fine", "busy", "reject")
    await harness.drain()
    fine, busy, rejected = harness.deliveries()
    assert (fine.error, busy.error, rejected.error) == (None, "ValueError", "Reject: nobody's")
    assert isinstance(busy.errors[0], ValueError)
    assert (fine.next_at, rejected.next_at) == (None, None)


@in_loop
async def test_what_is_passed_over_is_skipped(harness: Harness) -> None:
    """An event that an operator has skipped was settled without a call."""
    harness.use(Crm())
    await receive(harness, "fine", "busy")
    await asyncio.to_thread(harness.router.control.skip, "crm", to=1, actor="test")
    await harness.drain()
    assert harness.deliveries().outcomes == ["skipped", "parked"]
    assert [one.attempts for one in harness.deliveries()] == [0, 1]


@in_loop
async def test_other_types_are_none_of_the_plugins(harness: Harness) -> None:
    """Events that the plugin does not handle are not among them."""
    harness.use(Crm())
    await harness.receive(notifications.status("read"))
    await harness.drain()
    assert len(harness.deliveries()) == 0
