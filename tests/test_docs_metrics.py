"""The page on metrics names those that there are."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from router.log import EventLog
from router.prometheus import Collector
from tests.scraping import scrape
from tests.test_prometheus import standing

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "metrics.md").read_text("utf-8")
ROW = re.compile(r"^\| `(?P<name>router_\w+)` \| *(?P<labels>[\w, ]*?) *\|", re.MULTILINE)
RULES = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# One engine is enough: the page says the same of all.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def collector(log: EventLog) -> Collector:
    """A collector with a sample of each metric."""
    meters = log.meters
    meters.receive("wa")
    meters.reject("wa", "unverified")
    meters.append([], known={"wa": 1}, size=1, took=0.1)
    meters.deliver("crm", "live", {"done": 1})
    meters.call("crm", "done", 0.1)
    return Collector(log, look=lambda: [standing()])


def test_the_tables_hold_all_metrics(collector: Collector) -> None:
    """Each metric has a row with its labels, and each row is of a metric."""
    told = {row["name"]: row["labels"] for row in ROW.finditer(PAGE)}

    found = {}
    for family in collector.describe():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = ", ".join(vars(family)["_labelnames"])

    assert told == found


def test_the_rules_ask_for_what_there_is(collector: Collector) -> None:
    """What the alert rules ask for are samples that a scrape shows."""
    registry = CollectorRegistry()
    registry.register(collector)
    names = {name for name, _labels in scrape(registry)}
    names |= {f"{family.name}_total" for family in collector.describe()}

    (rules,) = RULES.findall(PAGE)
    asked = set(re.findall(r"\brouter_\w+", rules))

    assert asked
    assert asked <= names
