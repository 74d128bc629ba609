"""Tests of the command, driven as a shell would drive it."""
