"""The bodies that facts are posted in: the envelope of the Cloud API, and that of On-Premises."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeVar

import msgspec

from router.testing.shop.facts import Expected, Fact, Json, Shape
from router.testing.shop.people import ACCOUNT, SHOP_NUMBER, SHOP_NUMBER_ID

T = TypeVar("T")

_IN_A_VALUE = 3  # elements of one list, in a batch
_IN_AN_ENTRY = 2  # changes
_ORDER = ("messages", "statuses", "errors")  # in which a receiver reads the lists of an object

_METADATA = {"display_phone_number": SHOP_NUMBER, "phone_number_id": SHOP_NUMBER_ID}

_dump = json.JSONEncoder(separators=(",", ":")).encode


def write_body(facts: Sequence[Fact], shape: Shape) -> tuple[bytes, tuple[Expected, ...]]:
    """Return the body that tells ``facts``, and the events in it in their order there.

    The Cloud API's is as Meta writes it, with everything beyond ASCII and each slash escaped: who
    hashes anything but the bytes as they came finds another signature.
    """
    if shape == "onprem":
        ordered = [fact for place in _ORDER for fact in facts if fact.place == place]
        body = msgspec.json.encode(_write_lists(ordered))
    else:
        ordered = list(facts)
        body = _dump(_write_cloud(ordered)).replace("/", "\\/").encode("ascii")
    return body, tuple(fact.expected for fact in ordered)


def _write_lists(facts: Sequence[Fact]) -> Json:
    """Return the object that holds the lists: contacts first, and only those lists that are."""
    lists: dict[str, list[Json]] = {}
    for fact in facts:
        for contact in fact.contacts:
            known = lists.setdefault("contacts", [])
            if contact not in known:
                known.append(contact)
    for fact in facts:
        lists.setdefault(fact.place, []).append(fact.element)
    return dict(lists)


def _write_cloud(facts: Sequence[Fact]) -> Json:
    entries = []
    for some in _slice(list(_write_changes(facts)), _IN_AN_ENTRY):
        entry: Json = {"id": ACCOUNT, "changes": [change for change, _ in some]}
        times = [at for change, at in some if change["field"] != "messages"]
        if times:
            entry["time"] = times[0]
        entries.append(entry)
    return {"object": "whatsapp_business_account", "entry": entries}


def _write_changes(facts: Sequence[Fact]) -> Iterator[tuple[Json, int]]:
    """Yield each change with its time; neighbours of one list share a value."""
    for place, neighbours in groupby(facts, lambda fact: fact.place):
        if place == "field":
            yield from ((fact.element, fact.at) for fact in neighbours)
            continue
        for some in _slice(list(neighbours), _IN_A_VALUE):
            value: Json = {"messaging_product": "whatsapp", "metadata": _METADATA}
            yield {"field": "messages", "value": value | _write_lists(some)}, some[0].at


def _slice(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
