"""What is in a node, and whether it keeps the promises of its layer; bytes go in, values come out."""
