"""A folder in which the commands of the documentation can be run, with what they speak of."""

import os
import shutil
import subprocess
from pathlib import Path

from router.events import EventType
from router.log import EventLog
from router.testing.certificates import make_certificate
from tests import databases
from tests.cli.conftest import command
from tests.entries import append, make_entry
from tests.histories import park, start_replay, subscribe
from tests.samples import as_body, text_message

SETTINGS = """
plugins_dir = ["handlers"]

[sources.wa]
adapter = "whatsapp"
app_secrets = ["env:WA_SECRET"]
verify_token = "env:WA_TOKEN"

[sources.coreapp]
adapter = "whatsapp"
verification = "path"
secrets = ["file:coreapp.secret"]
channel = "+15550100"

[plugins.timeline]

[plugins.forward]
url = "https://orders.example/events"
secret = "env:FORWARD_SECRET"
"""
PLUGIN = """
from router import hookimpl

@hookimpl
def on_message(event):
    pass
"""
MODEL = """
from router import hookimpl

@hookimpl
def on_message(event, connection):
    pass
"""
SECRETS = {
    "WA_SECRET": "change-me",
    "WA_TOKEN": "change-me-too",
    "FORWARD_SECRET": "whsec_" + "A" * 32,
}


def make_stage(folder: Path, *, empty: Path) -> None:
    """Make what the pages speak of: settings, plugins, certificates, and a log with some history.

    Of 4,712 events; the plugin crm has a dead letter at 4711, and seven replays that wait.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ROUTER_")}
    environ |= SECRETS
    (folder / "router.toml").write_text(SETTINGS)
    (folder / "handlers").mkdir()
    for name, text in (("crm", PLUGIN), ("history", MODEL), ("readers", MODEL)):
        (folder / "handlers" / f"{name}.py").write_text(text)
    (folder / "notification.json").write_bytes(as_body({"messages": [text_message()]}))
    (folder / "coreapp.secret").write_text("secret")
    made = make_certificate(folder / "made", "router.internal")
    for path, name in ((made.certfile, "router.pem"), (made.keyfile, "router.key")):
        shutil.copy(path, folder / name)
    shutil.copy(made.ca, folder / "meta-outbound-api-ca-2025-12.pem")
    log = EventLog(databases.copy(empty, folder))
    kinds: tuple[EventType, ...] = ("message", "delivered", "read")
    for first in range(0, 4_712, 589):
        append(log, *(make_entry("12025550123", kinds[at % 3]) for at in range(first, first + 589)))
    for name in ("crm", "forward", "timeline"):
        subscribe(log, name)
        park(log, 4_711, name=name)
    for _ in range(7):
        start_replay(log, first=4_700)
    with log.store.writing() as connection:  # nobody owns the lanes, as after a stop
        connection.execute(log.store.tables.lane.update().values(owner=None, expires_at=None))
    log.store.close()
    upgraded = subprocess.run(command(["db", "upgrade"]), cwd=folder, env=environ, check=False)
    assert upgraded.returncode == 0  # the tables of plugins are there, too
