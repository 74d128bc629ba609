"""The story that the demo plays: a tea shop, its two numbers, and what their providers send."""

import msgspec

from router.demo.notifications import (
    write_batch,
    write_damaged,
    write_forgery,
    write_question,
    write_receipt,
    write_trouble,
)

COUNTER = "counter"  # the older number, on the On-Premises API
ONLINE = "online"  # the newer one, on the Cloud API


class Post(msgspec.Struct, frozen=True):
    """One request to the router.

    Attributes:
        name: What its body is called, as a file too.
        source: Where it goes.
        body: Its bytes.
        status: What it has to be answered.
        is_forged: Whether its signature is that of another body.
    """

    name: str
    source: str
    body: bytes
    status: int = 200
    is_forged: bool = False


class Step(msgspec.Struct, frozen=True):
    """What happens next, and the requests in which it is told."""

    title: str
    text: str
    posts: tuple[Post, ...]


def make_story(*, now: int) -> list[Step]:
    """Return the steps of what happened just before ``now``, in seconds since 1970."""
    start = now - 90
    batch = Post("batch", ONLINE, write_batch(start + 50))
    return [
        Step(
            "A customer writes",
            "Ana writes to the shop's older number. The On-Premises API posts the notification and "
            "proves itself by user name and password.",
            (Post("message", COUNTER, write_question(start)),),
        ),
        Step(
            "The answer is on its way",
            "The shop answers. What becomes of the answer comes as three notifications: sent, "
            "delivered, read. The first two name the price.",
            tuple(
                Post(status, COUNTER, write_receipt(status, start + after))
                for after, status in enumerate(("sent", "delivered", "read"), start=30)
            ),
        ),
        Step(
            "Something fails",
            "The On-Premises API could not fetch a picture. Such an error belongs to no message "
            "and to no customer; it is an event all the same.",
            (Post("errors", COUNTER, write_trouble()),),
        ),
        Step(
            "A batch",
            "The newer number is on the Cloud API, which signs each request and may put much into "
            "one. Here: three entries, for three plugins.",
            (batch,),
        ),
        Step(
            "The same batch again",
            "Meta repeats what it believes to be lost. The log knows every event by the provider's "
            "own ids, so no plugin is told twice.",
            (batch,),
        ),
        Step(
            "A damaged element",
            "Ben writes three messages, of which the second has lost its id on the way. It is kept "
            "for what it is, and costs the other two nothing.",
            (Post("damaged", ONLINE, write_damaged(start + 60)),),
        ),
        Step(
            "A forgery, and half a body",
            "Somebody who does not have the app secret makes up a message. Then a body breaks off "
            "in the middle. Both are refused, and the log holds nothing of them.",
            (
                Post("forged", ONLINE, write_forgery(start + 70), status=401, is_forged=True),
                Post("half", ONLINE, write_damaged(start + 80)[:300], status=400),
            ),
        ),
    ]
