"""The made-up shop itself: who writes when, what follows from it, and how it is told."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from router.testing.shop.contents import Contents, Pen
from router.testing.shop.envelopes import write_body
from router.testing.shop.facts import (
    Fact,
    Json,
    Posting,
    Shape,
    expect_field,
    expect_message,
)
from router.testing.shop.people import SHOP_NUMBER, Person, make_person
from router.testing.shop.receipts import (
    Sent,
    draw_category,
    draw_course,
    write_status,
    write_trouble,
)

START = 1_790_000_000  # 2026-09-21T14:13:20Z: a fixed moment, so that a seed fixes the bytes
STATUSES = frozenset({"sent", "delivered", "read", "failed"})
_COPY_AFTER, _LATE_BY = 20, 8  # notifications, at most
_GROUPS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How often the ways of the real world occur, each a share of the notifications.

    Attributes:
        duplicates: Sent once more, byte for byte, up to 20 notifications later.
        reorder: Held back until up to eight later ones are sent.
        batch: Hold several facts.
        batch_size: How many at most.
    """

    duplicates: float = 0.02
    reorder: float = 0.05
    batch: float = 0.05
    batch_size: int = 10


class Shop:
    """Makes notifications, without end; the same arguments make the same ones.

    Args:
        shape: Cloud or On-Premises.
        customers: How many write and are written to, at most `LARGEST`.
        seed: Decides on everything.
        mix: Duplicates, reordering and batches.
        start: When the first one happens, seconds since 1970.
        pace: Seconds between two notifications, by the times inside them.
    """

    def __init__(
        self,
        *,
        shape: Shape = "cloud",
        customers: int = 500,
        seed: int = 0,
        mix: Mix | None = None,
        start: int = START,
        pace: float = 0.005,
    ) -> None:
        self.shape: Shape = shape
        self._mix = mix or Mix()
        self._chance = Random(seed)  # noqa: S311  # chance, not secrecy
        self._people = [make_person(index, shape) for index in range(customers)]
        self._groups = [
            (
                f"Y{seed:x}-group-{index}",
                tuple(self._chance.sample(self._people, k=min(4, customers))),
            )
            for index in range(_GROUPS)
        ]
        self._contents = Contents(shape)
        self._start, self._pace = start, pace
        self._run = f"{self._chance.getrandbits(48):012X}"
        self._made = 0  # facts, for ids
        self._drawn = 0  # notifications, for the time
        self._coming: list[tuple[int, int, Sent, str]] = []
        self._former: dict[str, str] = {}

    def draw(
        self, find_statuses: Callable[[], frozenset[str]] = lambda: STATUSES, *, first: int = 0
    ) -> Iterator[Posting]:
        """Yield one notification after another.

        Args:
            find_statuses: Returns the statuses that are switched on, asked for each notification;
                those that are off take nobody's place.
            first: The number of the first one.
        """
        held: list[tuple[int, int, Posting]] = []  # until when, and what: late ones and copies
        mix, chance, number, ties = self._mix, self._chance, first, count()
        while True:
            statuses = find_statuses()
            if held and held[0][0] <= number:
                made = heapq.heappop(held)[2]
                if not _is_on(made, statuses):
                    continue
            else:
                made = Posting(-1, *write_body(self._gather(statuses), self.shape))
                if chance.random() < mix.reorder:
                    heapq.heappush(held, (number + chance.randint(1, _LATE_BY), next(ties), made))
                    continue
            yield Posting(number, made.body, made.expected, made.copy_of)
            if made.copy_of is None and chance.random() < mix.duplicates:
                copy = Posting(-1, made.body, made.expected, copy_of=number)
                heapq.heappush(held, (number + chance.randint(1, _COPY_AFTER), next(ties), copy))
            number += 1

    def _gather(self, statuses: frozenset[str]) -> list[Fact]:
        """Return the facts of the next notification: what is due, else what comes up."""
        self._drawn += 1
        chance, mix = self._chance, self._mix
        wanted = chance.randint(2, mix.batch_size) if chance.random() < mix.batch else 1
        facts: list[Fact] = []
        while len(facts) < wanted:
            if self._coming and self._coming[0][0] <= self._drawn:
                _, _, sent, word = heapq.heappop(self._coming)
                if word in STATUSES - statuses:
                    continue
                told = write_status(sent, word, shape=self.shape, at=self._now, chance=chance)
                facts += told
            else:
                facts += self._act(is_batch=wanted > 1)
        return facts

    @property
    def _now(self) -> int:
        return self._start + int(self._drawn * self._pace)

    def _act(self, *, is_batch: bool) -> list[Fact]:
        """Let something happen; a message of the shop's own is told of by its statuses alone."""
        lot = self._chance.random()
        if lot < 0.01 and not is_batch:  # an error beside a contact would seem to be about them
            tag = self._make_tag()
            return [write_trouble(tag, shape=self.shape, at=self._now, chance=self._chance)]
        if lot < 0.02 and self.shape == "cloud":
            return [self._write_field()]
        if lot < 0.05:
            group, members = self._chance.choice(self._groups)
            self._send(members, group=group)
            return [self._write_message(self._chance.choice(members), group=group)]
        person = self._chance.choice(self._people)
        if lot < 0.30:
            self._send((person,))
        if lot < 0.15:
            return []
        return [self._write_message(person)]

    def _send(self, people: tuple[Person, ...], *, group: str = "") -> None:
        """Send a message, of which statuses come later."""
        sent = Sent(self._make_id(), people, draw_category(self._chance), group)
        self._former[group or people[0].number] = sent.id
        for word, after in draw_course(self._chance, self.shape):
            heapq.heappush(self._coming, (self._drawn + after, self._made, sent, word))
            self._made += 1

    def _write_message(self, person: Person, *, group: str = "") -> Fact:
        id_, key = self._make_id(), group or person.number
        pen = Pen(
            chance=self._chance,
            shape=self.shape,
            tag=id_.rpartition(".")[2],
            former=self._former.get(key, f"{id_}-lost"),
            number=person.number,
            at=self._now,
        )
        message: Json = {"from": person.number, "id": id_, "timestamp": str(self._now)}
        message |= self._contents.write(pen)
        if group:
            message["group_id"] = group
        if person.user_id:
            message["from_user_id"] = person.user_id
        if self._chance.random() < 0.02:
            message.setdefault("context", {"forwarded": True})
        self._former[key] = id_
        contacts = (person.as_contact(),) if message["type"] != "system" else ()
        expected = expect_message(message, group or person.conversation)
        return Fact("messages", message, expected, contacts, self._now)

    def _write_field(self) -> Fact:
        """Return a change of a Cloud field other than messages, told from others by an id."""
        tag, is_echo = self._make_tag(), self._chance.random() < 0.5
        if is_echo:
            field, id_ = "smb_message_echoes", f"wamid.{tag}"
            person = self._chance.choice(self._people)
            echo: Json = {"from": SHOP_NUMBER, "to": person.number, "id": id_, "type": "text"}
            echo |= {"timestamp": str(self._now), "text": {"body": "From the phone at the till"}}
            value: Json = {"messaging_product": "whatsapp", "message_echoes": [echo]}
        else:
            field, id_ = "message_template_status_update", str(int(tag, 16))
            value = {"event": "APPROVED", "message_template_id": int(id_), "reason": "NONE"}
            value |= {"message_template_name": "parcel_sent", "message_template_language": "en"}
        expected = expect_field(field, id_, is_message=is_echo)
        return Fact("field", {"field": field, "value": value}, expected, at=self._now)

    def _make_tag(self) -> str:
        """Return what is unique among all that the shop makes, and among shops of other seeds."""
        self._made += 1
        return f"{self._run}{self._made:08X}"

    def _make_id(self) -> str:
        return f"wamid.{self._make_tag()}" if self.shape == "cloud" else f"gB.{self._make_tag()}"


def _is_on(made: Posting, statuses: frozenset[str]) -> bool:
    """Whether no status in it was switched off since it was made."""
    return not any(one.subtype in STATUSES - statuses for one in made.expected)
