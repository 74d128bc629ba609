"""A made-up shop on WhatsApp: the notifications that its customers cause, equal for equal seeds."""

from router.testing.shop.facts import Expected, Fact, Posting, identify
from router.testing.shop.people import LARGEST, Person
from router.testing.shop.shop import Mix, Shop

__all__ = ["LARGEST", "Expected", "Fact", "Mix", "Person", "Posting", "Shop", "identify"]
