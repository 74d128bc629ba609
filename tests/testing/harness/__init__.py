"""Tests of `router.testing.harness`."""
