"""The project on disk and in git, and the settings of this machine."""
