"""Tests of the Coreapp that behaves."""
