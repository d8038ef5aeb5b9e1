"""What happens in a run: the contract of its events, and what they add up to."""
