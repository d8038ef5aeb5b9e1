"""What tests share that are not in one folder."""
