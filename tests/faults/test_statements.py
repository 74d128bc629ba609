"""A process stands still, or its connection ends, at one statement after another on PostgreSQL."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from router.log import EventLog
from router.postgresql import APPEND_IDLE
from tests.entries import append_messages
from tests.faults import fleet
from tests.faults.beside import SECONDS, wait
from tests.faults.fleet import Member
from tests.faults.journal import Journal, find_breaches
from tests.faults.proxy import Line, Proxy
from tests.faults.record import Record
from tests.faults.traffic import make_body
from tests.faults.worker import EFFECTS, PLAIN, make_effects, write_plugins

pytestmark = pytest.mark.slow

BEGIN = f"idle_in_transaction_session_timeout = {int(APPEND_IDLE * 1_000)};".encode()
LEAST = 2  # messages that an append sends: the COMMIT may be read together with the rows
EVENTS, SUBJECTS, EVERY = 600, 30, 7


class Freezer:
    """Lets a receiver stand still at a statement of an append.

    Attributes:
        is_frozen: Whether it stands still.
    """

    def __init__(self) -> None:
        self.is_frozen = False
        self._member: Member | None = None
        self._at: int | None = 0
        self._thawed = threading.Event()
        self._thawed.set()

    def arm(self, member: Member, *, at: int | None) -> None:
        """Let ``member`` stand still when it has sent so many messages of an append, or the commit.

        Args:
            member: The receiver.
            at: How many; they may be fewer or more the next time. None is when it commits.
        """
        self.is_frozen, self._member, self._at = False, member, at

    def disarm(self) -> None:
        """Let nobody stand still from now on: the next append may be sent in more messages."""
        self._member = None

    def thaw(self) -> None:
        """Pass on what it sent before it stood still, though later than what it was armed for."""
        self._thawed.set()

    def see(self, line: Line, data: bytes) -> None:
        """Count the messages of an append."""
        self._thawed.wait()
        if BEGIN in data:
            line.statements = 0
        if line.statements is None or self._member is None:
            return
        line.statements += 1
        is_commit = b"COMMIT" in data
        if is_commit if self._at is None else line.statements == self._at:
            self._member.pause()
            self._thawed.clear()
            self.is_frozen, self._member = True, None
        if is_commit:
            line.statements = None


class Cutter:
    """Ends a connection where the answer to every so many commits would come.

    Attributes:
        cuts: How many answers were lost.
    """

    def __init__(self) -> None:
        self.cuts = 0
        self._commits = 0

    def see(self, line: Line, data: bytes) -> None:
        """Count the commits."""
        if b"COMMIT" in data:
            self._commits += 1
            if self._commits % EVERY == 0:
                self.cuts += 1
                line.is_cut = True


def test_a_receiver_that_stands_still_amid_an_append_does_not_stop_the_others(
    tmp_path: Path, postgres_log: str
) -> None:
    """At whichever statement: the others answer 200 again while it still stands."""
    freezer, record = Freezer(), Record(postgres_log)
    fleet.configure(tmp_path, postgres_log)
    answered: dict[int, int] = {}
    numbers = itertools.count(1)
    gaps = []

    def post(member: Member) -> int:
        number = next(numbers)
        answered[number] = member.post(make_body(number, subjects=SUBJECTS)).status
        return answered[number]

    with (
        Proxy(postgres_log, see=freezer.see).running() as proxy,
        fleet.running(tmp_path, receivers=3, own={"receiver0": proxy.url}) as found,
        ThreadPoolExecutor(1) as threads,
    ):
        frozen, *others = found.receivers

        def freeze(at: int | None) -> bool:
            """Let an append stand still, if it comes so far; whether it did."""
            freezer.arm(frozen, at=at)
            posting = threads.submit(post, frozen)
            wait(lambda: freezer.is_frozen or posting.done())
            freezer.disarm()
            if freezer.is_frozen:
                gaps.append(max(wait(lambda: post(one) == 200) for one in others))  # noqa: B023
                frozen.resume()
                freezer.thaw()
            assert posting.result(SECONDS) in (200, 503)
            wait(lambda: post(frozen) == 200)
            return freezer.is_frozen

        assert next(at for at in itertools.count(1) if not freeze(at)) > LEAST
        assert freeze(None)
    must = {number for number, status in answered.items() if status == 200}
    record.check_log(must=must, may=set(answered))
    texts = ", ".join(f"{gap:.1f}" for gap in gaps)
    print(f"\nfrozen at each of {len(gaps)} messages, the others were held up for {texts} s")  # noqa: T201


def test_a_commit_whose_answer_is_lost_is_answered_503_and_known_again(
    tmp_path: Path, postgres_log: str
) -> None:
    """The receiver says that it does not know; what comes again is there once."""
    cutter, record = Cutter(), Record(postgres_log)
    fleet.configure(tmp_path, postgres_log)
    with (
        Proxy(postgres_log, see=cutter.see).running() as proxy,
        fleet.running(tmp_path, receivers=1, own={"receiver0": proxy.url}) as found,
    ):
        [receiver] = found.receivers
        statuses = []
        for number in range(1, 5 * EVERY):
            status = 503
            while status == 503:
                status = receiver.post(make_body(number, subjects=SUBJECTS)).status
                statuses.append(status)
    assert cutter.cuts > 1
    assert set(statuses) == {200, 503}
    record.check_log(must=set(range(1, 5 * EVERY)), may=set())


def test_effects_whose_commit_was_not_answered_are_there_once(
    tmp_path: Path, postgres_log: str
) -> None:
    """A worker that does not hear of its commits goes on from what is on record."""
    cutter, record = Cutter(), Record(postgres_log)
    fleet.configure(tmp_path, postgres_log)
    write_plugins(tmp_path, failing=0.02, plugins=(PLAIN, EFFECTS))
    make_effects(postgres_log)
    log = EventLog(postgres_log)
    with (
        Proxy(postgres_log, see=cutter.see).running() as proxy,
        fleet.running(tmp_path, workers=1, own={"worker0": proxy.url}),
    ):
        for at in range(0, EVENTS, SUBJECTS):
            append_messages(log, [f"c{at % 7}{number}" for number in range(SUBJECTS)])
        log.store.close()
        wait(record.is_delivered)
    record.check_effects()
    journal = Journal(tmp_path / f"{PLAIN}.txt")
    journal.refresh()
    assert list(find_breaches(journal.lines, is_record_kept=False))[:5] == []
    assert journal.handled.keys() == set(range(1, EVENTS + 1))
    assert cutter.cuts > 1
    print(f"\n{cutter.cuts} commits were not answered")  # noqa: T201  # for -s
