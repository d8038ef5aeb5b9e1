"""Tests of the project around the code: workflows, hooks, packaging, files of git."""
