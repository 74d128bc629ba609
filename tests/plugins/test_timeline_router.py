"""The plugin `timeline` through the router: posted to, delivered live, and replayed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from router import Router, plugin_tables
from router.host import Host
from router.plugins import timeline
from router.plugins.timeline.model import METADATA
from router.plugins.whatsapp import WhatsApp
from router.store import Store
from tests import samples
from tests.loops import in_loop
from tests.plugins.timelines import Rows, at, read_messages, read_steps
from tests.posting import ask
from tests.records import read_checkpoint
from tests.waiting import until

STORY: Sequence[samples.Json] = [
    samples.cloud_value(messages=[samples.text_message(1)]),
    samples.cloud_value(statuses=[samples.status("read", 1, timestamp=at(4))]),
    samples.cloud_value(statuses=[samples.failure(131026, 2, timestamp=at(1))]),
    samples.cloud_value(
        messages=[samples.text_message(2)],
        statuses=[samples.status("sent", 1), samples.status("delivered", 2, timestamp=at(2))],
        errors=[samples.error(130429, timestamp=at(3))],
    ),
    samples.cloud_value(statuses=[samples.status("played", 1, timestamp=at(6))]),
    samples.cloud_field("account_update", event="DISABLED_UPDATE"),
    samples.cloud_value(statuses=[samples.status("sent", 2), samples.status("sent", 3)]),
]


async def post(router: Router, story: Sequence[samples.Json]) -> None:
    """Post notifications to the source "wa"."""
    for body in story:
        answer = await ask(router.asgi(), "/webhooks/wa", body=samples.as_body(body))
        assert answer.status == 200


def make_router(database: str, *plugins: object) -> Router:
    """Return a router with the source "wa" and these plugins, whose tables are there."""
    router = Router(database, sources=[WhatsApp("wa", verification="none")], plugins=plugins)
    router.create_tables()
    return router


def read_all(database: str) -> tuple[Rows, Rows]:
    """Return what the plugin keeps."""
    store = Store(database)
    try:
        with store.reading() as connection:
            return read_messages(connection), read_steps(connection)
    finally:
        store.close()


async def live(database: str, story: Sequence[samples.Json]) -> None:
    """Run a router with the plugin, and post to it until all is delivered."""
    async with make_router(database, timeline) as router:
        await post(router, story)
        head = router.log.head()
        await until(lambda: read_checkpoint(router.log.store, "timeline") == head)


async def replay(database: str, story: Sequence[samples.Json] = ()) -> None:
    """Run a router with the plugin; replay history to it while notifications go on."""
    async with make_router(database, timeline) as router:
        handle = await router.replay("timeline")
        await post(router, story)
        ended = await handle.result()
        assert (ended.state, ended.failed) == ("done", 0)
        head = router.log.head()
        await until(lambda: read_checkpoint(router.log.store, "timeline") == head)


@in_loop
async def test_a_replay_to_a_later_timeline_gives_the_same(
    empty_database: Path, tmp_path: Path
) -> None:
    """Live from the beginning, switched on at the end, or half way: the tables are equal."""
    names = ("first", "later", "between")
    first, later, between = (
        f"sqlite:///{shutil.copy(empty_database, tmp_path / name)}" for name in names
    )
    await live(first, STORY)
    async with make_router(later) as router:
        await post(router, STORY)
    await replay(later)
    async with make_router(between) as router:
        await post(router, STORY[:4])
    await replay(between, STORY[4:])

    messages, steps = read_all(first)
    assert [(row.message_id, row.state) for row in messages] == [
        ("wamid.OUT1", "played"),
        ("wamid.OUT2", "delivered"),
        ("wamid.OUT3", "sent"),
    ]
    assert len(steps) == 10
    assert read_all(later) == read_all(between) == (messages, steps)

    await replay(first)  # over the full model
    assert read_all(first) == (messages, steps)


@pytest.mark.parametrize("expected", [[], ["timeline"]])
def test_it_runs_where_it_is_asked_for(expected: list[str]) -> None:
    """It is installed with the router, and runs only where `[plugins.timeline]` is there."""
    host = Host.load(configured={name: {} for name in expected})
    host.require_sound()
    assert [plugin.name for plugin in host.subscribers()] == expected
    assert list(host.tables()) == expected


def test_all_tables_bear_its_name() -> None:
    """They clash with nobody's."""
    assert all(name.startswith("timeline_") for name in METADATA.tables)


def test_the_tables_made_are_those_meant(store: Store) -> None:
    """`router db check` finds no difference."""
    wanted = {"timeline": METADATA}
    plugin_tables.create(store.engine, wanted)

    assert plugin_tables.find_drift(store.engine, wanted) == []
