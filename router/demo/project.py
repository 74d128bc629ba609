"""The folder that the demo works in: a complete project, such as anybody would set up."""

import json
import secrets
from collections.abc import Callable
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from sqlalchemy import URL

from router.demo.story import COUNTER, ONLINE
from router.errors import RouterError
from router.hookspecs import PROJECT
from router.loading import find_entry_points

HANDLERS = ("crm", "receipts", "alarms")
LATECOMER = "history"  # the plugin that is added when the story is over
NUMBER = "+12025550100"  # of the shop's counter: what the On-Premises API sends does not name it

SETTINGS = """\
# The settings of the demo: two sources, and a folder in which each file is a plugin.
database = {database}
plugins_dir = ["handlers"]

[sources.{counter}]                # On-Premises: POST /webhooks/{counter}
adapter = "whatsapp"
verification = "basic"
users = [{{ username = "coreapp", password = "file:secrets/{counter}-password" }}]
channel = "{number}"

[sources.{online}]                 # Cloud: POST /webhooks/{online}, and GET for hub.challenge
adapter = "whatsapp"
app_secrets = ["file:secrets/{online}-app-secret"]
verify_token = "file:secrets/{online}-verify-token"
"""

OTHERS = """
[plugins.{name}]                   # is installed here, but has no part in the demo
enabled = false
"""


def write_project(folder: Path, *, token: Callable[[], str] = secrets.token_hex) -> Path:
    """Fill ``folder``, which is made where there is none, and return its `router.toml`.

    Args:
        folder: Where.
        token: Makes a secret.

    Raises:
        RouterError: It holds something already, or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise RouterError(f"{folder} is not empty: name a new folder, and the demo will make it")
    for name in ("handlers", "notes", "notifications", "secrets"):
        (folder / name).mkdir(mode=0o700)
    for name in (f"{COUNTER}-password", f"{ONLINE}-app-secret", f"{ONLINE}-verify-token"):
        (folder / "secrets" / name).write_text(token() + "\n", encoding="utf-8")
    for name in HANDLERS:
        add_handler(folder, name)
    settings = folder / "router.toml"
    settings.write_text(_make_settings(folder), encoding="utf-8")
    return settings


def add_handler(folder: Path, name: str) -> str:
    """Put the demo's plugin of that name into ``folder`` and return its code."""
    code = files("router.demo.handlers").joinpath(f"{name}.py").read_text("utf-8")
    (folder / "handlers" / f"{name}.py").write_text(code, encoding="utf-8")
    return code


def _make_settings(folder: Path) -> str:
    url = URL.create("sqlite", database=str(folder.absolute() / "router.db"))
    settings = SETTINGS.format(
        database=json.dumps(url.render_as_string()), counter=COUNTER, online=ONLINE, number=NUMBER
    )
    installed = find_entry_points(metadata.entry_points(group=PROJECT))
    others = [found.name for found in installed if not found.is_first_party]
    return settings + "".join(OTHERS.format(name=json.dumps(name)) for name in others)
