"""The first act: the story is posted to the router, and what its plugins do with it is shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import httpx2
from rich.text import Text

from router.assembly import make_sources
from router.demo.notes import Note, read_notes
from router.demo.scene import BAD, GOOD, STYLES
from router.demo.stage import DemoFailed, Stage
from router.demo.story import Post, Step
from router.events import Event
from router.host import Host
from router.sources import Source

INDENT = 7  # columns before what a request led to
PROOF = {"authorization": "user and password", "x-hub-signature-256": "signed"}


class Telling:
    """Tells the story.

    Args:
        stage: Where.
        host: The plugins that are to handle the events.
        http: Posts to the router.

    Attributes:
        refused: How many requests were refused, by the status of the answer.
        known: How many of their events the log had already.
    """

    def __init__(self, stage: Stage, *, host: Host, http: httpx2.Client) -> None:
        self.refused: Counter[int] = Counter()
        self.known = 0
        self._stage = stage
        self._scene = stage.scene
        self._http = http
        self._handlers = {one.name: one.handlers for one in host.subscribers()}
        sources = make_sources(stage.config, host)
        self._sources: Mapping[str, Source] = {one.name: one for one in sources}

    def tell(self, steps: Sequence[Step]) -> None:
        """Tell step after step.

        Raises:
            DemoFailed: An answer is not the right one, or a handler is not called.
        """
        for number, step in enumerate(steps, start=1):
            self._scene.heading(step.title, number=number)
            self._scene.say(step.text)
            self._scene.line()
            for post in step.posts:
                self._play(post)
            self._scene.pause(0.5)

    def _play(self, post: Post) -> None:
        log = self._stage.log
        before = log.head()
        answer = self._send(post)
        status = answer.status_code
        detail = "" if status == HTTPStatus.OK else _explain(answer)
        self._show_request(post, status)
        if status != post.status:
            wanted = f"answered {status}, and should be answered {post.status}"
            raise DemoFailed(f"{post.name}.json was {wanted}: {detail}")
        events = list(log.read(after=before))  # 200 means that they are on disk
        if status == HTTPStatus.OK:
            detail = self._count_known(post, new=len(events))
        else:
            self.refused[status] += 1
        if detail:
            self._scene.say(detail, indent=INDENT)
        for event in events:
            self._scene.pause(0.1)
            self._show_event(event, self._watch(event))

    def _send(self, post: Post) -> httpx2.Response:
        file = self._stage.folder / "notifications" / f"{post.name}.json"
        file.write_bytes(post.body)
        signed = self._sources[post.source].sign(post.body + b" " * post.is_forged)
        headers = {"content-type": "application/json", **signed.headers}
        try:
            return self._http.post(f"/webhooks/{post.source}", content=post.body, headers=headers)
        except httpx2.HTTPError as error:
            raise DemoFailed(f"{file.name} was not answered: {error}") from error

    def _show_request(self, post: Post, status: int) -> None:
        names = self._sources[post.source].sign(post.body).headers
        proof = "wrong signature" if post.is_forged else PROOF[next(iter(names))]
        self._scene.line(
            "POST ",
            (f"/webhooks/{post.source}", "bold"),
            f"  {len(post.body)} bytes, {proof}  {self._scene.arrow} ",
            (f"{status} {HTTPStatus(status).phrase}", GOOD if status == HTTPStatus.OK else BAD),
        )

    def _count_known(self, post: Post, *, new: int) -> str:
        """Count the events that the log had already; what to say of them, if anything."""
        known = len(self._sources[post.source].split(post.body)) - new
        self.known += known
        return f"Nothing new: the log has all {known} events." if known and not new else ""

    def _watch(self, event: Event) -> list[Note]:
        """Return what the handlers of ``event`` noted, once all of them have."""
        wanted = {name for name, handlers in self._handlers.items() if event.type in handlers}

        def look() -> list[Note] | None:
            notes = [n for n in read_notes(self._stage.folder) if n.position == event.position]
            return notes if {note.plugin for note in notes} >= wanted else None

        names = " and ".join(sorted(wanted))
        awaited = f"the plugin {names} to handle event {event.position} ({event.type})"
        return self._stage.wait(look, awaited=awaited)

    def _show_event(self, event: Event, notes: Sequence[Note]) -> None:
        style = STYLES[event.type]
        self._scene.line(
            (f"{event.position:>3}", "bold"),
            (f"  {event.type:<9}", style),
            f"  {event.subtype:<14}",
            (f"  {event.subject}", "dim"),
        )
        for note in notes:
            did = Text.assemble(f"{self._scene.arrow} ", (note.plugin, style), f": {note.did}")
            self._scene.line(did, indent=INDENT)


def _explain(answer: httpx2.Response) -> str:
    """Return why the router refused."""
    if answer.headers.get("content-type") == "application/problem+json":
        return str(answer.json()["detail"])
    return answer.text
