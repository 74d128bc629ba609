"""The second act: a plugin that did not exist learns the past from a replay."""

from rich.text import Text

from router.demo.notes import read_counts, read_notes
from router.demo.project import LATECOMER, add_handler
from router.demo.scene import GOOD
from router.demo.stage import DemoFailed, Stage
from router.filters import Filter
from router.replay import Replays
from router.replay_record import Replay
from router.replay_states import DONE

REASON = "the plugin is new and knows nothing of the past"


def add_latecomer(stage: Stage) -> None:
    """Put the plugin into the project and show its code."""
    scene = stage.scene
    scene.heading("A new plugin, and all that was before it")
    scene.say(f"The service stops. handlers/{LATECOMER}.py is added, and this is the whole of it:")
    scene.line()
    scene.code(add_handler(stage.folder, LATECOMER), "python")
    scene.pause(1.0)


def replay(stage: Stage) -> None:
    """Replay the whole log into the plugin and show what it learnt.

    Raises:
        DemoFailed: It does not come to its end, a delivery fails, or another plugin is called.
    """
    scene, before = stage.scene, read_notes(stage.folder)
    scene.line()
    scene.say(
        f"The service starts again on the same database: {stage.log.head()} events are there, and "
        f"nobody gets one twice. {LATECOMER} would see what comes from now on. A replay hands it "
        f"all that came before, as `router replay start {LATECOMER}` would:"
    )
    scene.line()
    done = _run(stage)
    elsewhere = len(read_notes(stage.folder)) - len(before)
    if done.failed or elsewhere:
        raise DemoFailed(
            f"replay {done.id} was to hand {done.total} events to {LATECOMER} and to nobody else: "
            f"{done.failed} failed, and others were called {elsewhere} times"
        )
    scene.line(
        (f"replay {done.id}", "bold"),
        f"  positions {done.first} to {done.end - 1}  {scene.arrow} ",
        (f"{done.state}, {done.done} of {done.total}", GOOD),
    )
    _show_counts(stage)
    scene.pause(0.6)


def _run(stage: Stage) -> Replay:
    replays = Replays(stage.log)
    plan = replays.plan(LATECOMER, matching=Filter())
    number = replays.start(plan, reason=REASON, by="demo").id

    def look() -> Replay | None:
        found = replays.find(number)
        return found if found.state == DONE else None

    return stage.wait(look, awaited=f"replay {number} of {plan.total} events to end")


def _show_counts(stage: Stage) -> None:
    mark = Text.assemble(f"     {stage.scene.arrow} ", (LATECOMER, "cyan"), ":")
    counts = sorted(read_counts(stage.folder).items())
    stage.scene.columns(
        [[mark, subject, Text(str(count), "bold")] for subject, count in counts], right=[2]
    )
