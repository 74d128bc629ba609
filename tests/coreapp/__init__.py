"""Tests of the client of a Coreapp, against one that is simulated."""
