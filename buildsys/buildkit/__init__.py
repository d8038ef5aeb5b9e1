"""The calls of docker and BuildKit: processes, progress, failures. No other package runs docker."""
