"""What each target is, its content key, and the action that is planned for it."""
