"""The tests that layers declare, run in images by digest, and what is remembered of their results."""
