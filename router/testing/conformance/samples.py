"""What is promised of bodies as the provider sends them: found, told apart, and known again."""

import json
from collections.abc import Callable, Mapping
from itertools import pairwise

from router import bodies, paths
from router.errors import Unreadable
from router.events import Draft, key_of
from router.testing.conformance.given import (
    Broken,
    Given,
    require,
    require_split,
    show,
    split,
    split_sample,
)
from router.testing.conformance.hostile import put

Check = Callable[[Given], None]
UNKNOWN = {"malformed", "unrecognised"}


def _are_given(given: Given) -> None:
    require(given.samples, "there is no sample: give some bodies as the provider sends them")
    source = given.make_source()
    for sample in given.samples:
        drafts = split_sample(source, sample)
        strange = [draft.path for draft in drafts if draft.subtype in UNKNOWN]
        require(not strange, f"what is at {strange} is not recognised in the sample {show(sample)}")


def _are_sound(given: Given) -> None:
    source = given.make_source()
    for sample in given.samples:
        require_split(source, sample)


def _give_the_same_everywhere(given: Given) -> None:
    first, second = given.make_source(), given.make_source()
    for sample in reversed(given.samples):
        split_sample(second, sample)  # in another order: nothing is to be remembered
    for sample in given.samples:
        told = f"two sources with the same settings split {show(sample)} in two ways"
        require(split_sample(first, sample) == split_sample(second, sample), told)


def _are_told_apart(given: Given) -> None:
    """Of two events with one key the log drops the second."""
    source = given.make_source()
    for sample in given.samples:
        seen: dict[bytes, Draft] = {}
        for draft in split_sample(source, sample):
            key = key_of("conformance", draft, sample)
            if key in seen:
                raise Broken(
                    f"the events at {seen[key].path} and {draft.path} of {show(sample)} have one"
                    f" natural key, {draft.natural_key}: the log would drop the second"
                )
            seen[key] = draft


def _are_known_again(given: Given) -> None:
    """A provider that sends once more need not write the same bytes."""
    source = given.make_source()
    for sample in given.samples:
        before = [draft.natural_key for draft in split_sample(source, sample)]
        for again in _rewrite(sample):
            after = [draft.natural_key for draft in split_sample(source, again)]
            told = (
                f"natural keys depend on how JSON is written, not on what it says: {show(sample)}"
            )
            require(before == after, told)


def _rewrite(sample: bytes) -> list[bytes]:
    try:
        data = bodies.decode(sample)
    except Unreadable:
        return []
    sorted_ = json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False)
    return [json.dumps(data).encode(), sorted_.encode("utf-8", "surrogatepass")]


def _stand_in_order(given: Given) -> None:
    """Positions follow the order in which events are given: that of the body, list by list."""
    source = given.make_source()
    for sample in given.samples:
        places = [_place(draft) for draft in split_sample(source, sample)]
        for (one, first), (other, second) in pairwise(places):
            told = f"the events of one list are out of order in {show(sample)}"
            require(one != other or first < second, told)


def _place(draft: Draft) -> tuple[str, int]:
    """Return the list that an event stands in, and its index there."""
    held, _, index = draft.path.rpartition("[")
    return (held, int(index[:-1])) if held and draft.path.endswith("]") else (draft.path, 0)


def _cost_no_siblings(given: Given) -> None:
    source = given.make_source()
    for sample in given.samples:
        drafts = split_sample(source, sample)
        for broken in drafts:
            if not broken.path.endswith("]"):
                continue  # it stands in no list, and has no siblings
            changed = put(bodies.decode(sample), paths.parse(broken.path), None)
            found = split(source, json.dumps(changed).encode()) or []
            after = {draft.path: draft.natural_key for draft in found}
            lost = [
                one.path
                for one in drafts
                if one is not broken and after.get(one.path, ()) != one.natural_key
            ]
            told = f"null at {broken.path} costs the events at {lost}, in {show(sample)}"
            require(not lost, told)


def _need_no_settings(given: Given) -> None:
    source = given.make_source()
    for sample in given.samples:
        try:
            plain = list(given.adapter.split(sample))
        except Exception as error:
            said = f"the adapter's own split() raised {error!r} for a sample: {show(sample)}"
            raise Broken(said) from error
        found = [
            [(one.path, one.type) for one in some] for some in (plain, split_sample(source, sample))
        ]
        told = f"the adapter's own split() finds other events than its source in {show(sample)}"
        require(found[0] == found[1], told)


CHECKS: Mapping[str, tuple[str, Check]] = {
    "samples-recognised": ("all of every sample is recognised", _are_given),
    "samples-sound": ("events of samples can be stored, and their paths followed", _are_sound),
    "samples-deterministic": ("equal sources give equal events", _give_the_same_everywhere),
    "keys-distinct": ("no two events of a body have one natural key", _are_told_apart),
    "keys-stable": ("a redelivery is known, however its JSON is written", _are_known_again),
    "order": ("events of one list come in its order", _stand_in_order),
    "siblings": ("an element that cannot be read costs no other", _cost_no_siblings),
    "adapter-split": ("an adapter finds the events without settings, too", _need_no_settings),
}
