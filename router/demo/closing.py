"""What is said last: how to go on, and while the demo is kept, where everything is."""

import shlex
from pathlib import Path

from rich.text import Text

from router.demo.scene import Scene
from router.demo.story import COUNTER, ONLINE

SAMPLE = """\
plugins_dir = ["handlers"]

[sources.wa]
adapter = "whatsapp"
app_secrets = ["env:WA_SECRET"]
verify_token = "env:WA_TOKEN"
"""


def say_what_next(scene: Scene, *, command: str, is_kept: bool) -> None:
    """Show the way from here to a router of one's own.

    Args:
        scene: Where.
        command: How `router` is called here.
        is_kept: Whether the demo goes on serving.
    """
    scene.heading("What next")
    scene.say(
        "A router of your own needs a folder with plugins, such as handlers/history.py above, and "
        "a router.toml:"
    )
    scene.line()
    scene.code(SAMPLE, "toml")
    scene.line()
    scene.say("Then:")
    scene.line()
    ways = {
        "export WA_SECRET=... WA_TOKEN=...": "the app secret, and what Meta is to verify with",
        f"{command} db upgrade": "makes router.db",
        f"{command} serve": "takes http://127.0.0.1:8000/webhooks/wa",
        f"{command} send FILE --source wa": "posts a body to it, signed",
        f"{command} events list": "shows what came of it",
    }
    if not is_kept:
        ways[f"{command} demo --keep"] = "this again, to look around in"
    scene.columns([[Text(f"  {way}", "bold"), Text(what, "dim")] for way, what in ways.items()])
    scene.line()
    scene.say("README.md goes on from here, and docs/glossary.md explains the words.")


def say_where(scene: Scene, *, address: str, settings: Path, command: str) -> None:
    """Show what can be done while the demo goes on serving."""
    folder = settings.parent
    scene.heading("Still serving")
    scene.columns(
        [
            ["On-Premises", Text(f"{address}/webhooks/{COUNTER}", "bold")],
            ["Cloud", Text(f"{address}/webhooks/{ONLINE}", "bold")],
            ["probes", f"{address}/livez  {address}/readyz"],
            ["project", str(folder)],
        ]
    )
    scene.line()
    scene.say("Look around from another terminal:")
    scene.line()
    config = f"--config {shlex.quote(str(settings))}"
    file = shlex.quote(str(folder / "notifications" / "batch.json"))
    for words in (
        f"events list {config}",
        f"subscriptions list {config}",
        f"send {file} --source {ONLINE} --url {address} {config}",
        f"parse {file} --adapter whatsapp",
    ):
        scene.line((f"{command} {words}", "bold"), indent=4)
    scene.line()
    scene.say("Ctrl-C ends it.")
