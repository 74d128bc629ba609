"""Tests of `router.conventions`: the names are those of the version that they are said to be of."""

from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes
from opentelemetry.semconv.schemas import Schemas

from router import conventions


def test_the_version_is_one_that_there_is() -> None:
    """The address of the schema is that of version 1.44.0."""
    assert Schemas.V1_44_0.value == conventions.SCHEMA


def test_names_of_others_are_spelt_as_they_are() -> None:
    """Each name but our own stands in what is published, and so do the types of operations."""
    known = {
        value
        for module in (messaging_attributes, error_attributes, http_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    ours = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and "." in value and not value.startswith(("router.", "https:"))
    }
    types = {one.value for one in messaging_attributes.MessagingOperationTypeValues}

    assert len(ours) == 10
    assert ours <= known
    assert {conventions.SEND, conventions.PROCESS} <= types
