"""Tests of tools/ and bench/: programs of their own beside the package."""
