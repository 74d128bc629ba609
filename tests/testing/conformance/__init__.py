"""Tests of `router.testing.conformance`."""
