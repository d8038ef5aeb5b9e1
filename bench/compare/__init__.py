"""Eight images built four ways: what the ways are, what they are measured by, and what came out."""
