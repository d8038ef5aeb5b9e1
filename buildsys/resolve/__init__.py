"""Declared stacks become units of work that all of them share."""
