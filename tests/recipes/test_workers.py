"""The recipe of a receiver and a worker: each comes and goes, and nothing is lost between them."""

from pathlib import Path

from router import EventLog
from tests.recipes.kitchen import Kitchen, cooking, is_settled, wait


def list_handled(kitchen: Kitchen) -> set[str]:
    """The subjects of the messages that any worker has handled."""
    lines = "".join(server.said for server in kitchen.servers).splitlines()
    return {line.split()[0] for line in lines if line.endswith(" sent a text")}


def test_what_comes_without_a_worker_waits_for_one(database: str, tmp_path: Path) -> None:
    """Both kinds of worker deliver what the receiver stores, and each ends with nothing undone."""
    with cooking("worker", tmp_path / "here", {"ROUTER_DATABASE": database}) as kitchen:
        kitchen.follow("worker")
        receiver, script, command = kitchen.servers
        wait(lambda: list_handled(kitchen) == {"42:12025550123"})
        kitchen.post("/webhooks/wa", range(10))
        script.stop()
        command.stop()
        kitchen.post("/webhooks/wa", range(10, 20))

        log = EventLog(database)
        subjects = [event.subject for event in log.read()]
        assert len(subjects) == 21
        worker = kitchen.start(script.words)
        wait(lambda: is_settled(log.store, 21))
        assert list_handled(kitchen) == set(subjects)
        worker.stop()
        receiver.stop()
        log.store.close()
