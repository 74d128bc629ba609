"""Recipes that mount the router in another application: what comes in is handled, and kept."""

import json
from pathlib import Path

import pytest

from router import EventLog
from tests.recipes import require
from tests.recipes.kitchen import Kitchen, cooking, is_settled, wait

require("fastapi", "django")

SUBJECTS = ["42:12025550123", *(f"550066007700880:52155{number}" for number in range(20))]
MOUNTS = {"fastapi": "/x/notify", "starlette": "/notify", "django": "/notify"}
DATABASES = {"fastapi": "shop.db"}


def list_handled(name: str, kitchen: Kitchen) -> list[str]:
    """The subjects of the messages that the recipe's plugin has handled."""
    if name == "starlette":
        said = "".join(server.said for server in kitchen.servers)
        return [line.split()[0] for line in said.splitlines() if line.endswith(" sent a text")]
    return [message["subject"] for message in json.loads(kitchen.get("/messages"))]


@pytest.mark.parametrize("name", MOUNTS)
def test_what_is_answered_is_handled_across_a_stop(name: str, tmp_path: Path) -> None:
    """The README's notification is handled; what comes before a stop is there and is handled once.

    Of the plugin that prints it may be more often: it is called at least once.
    """
    with cooking(name, tmp_path) as kitchen:
        kitchen.follow(name)
        wait(lambda: list_handled(name, kitchen) == SUBJECTS[:1])
        assert kitchen.get(f"{MOUNTS[name]}/readyz") == "ready\n"

        (server,) = kitchen.servers
        kitchen.post(f"{MOUNTS[name]}/webhooks/wa", range(20))
        server.stop()
        log = EventLog(f"sqlite:///{kitchen.folder / DATABASES.get(name, 'router.db')}")
        assert [event.subject for event in log.read()] == SUBJECTS

        again = kitchen.start(server.words)
        wait(lambda: is_settled(log.store, len(SUBJECTS)))
        handled = list_handled(name, kitchen)
        assert set(handled) == set(SUBJECTS)
        assert len(handled) == len(SUBJECTS) or name == "starlette"
        again.stop()
        log.store.close()
