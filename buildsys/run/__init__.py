"""Executes a plan: the queue, workers, retries, publishing."""
