"""One use case per module; they return values and print nothing."""
