#!/bin/bash
# The name that it had before it was Python.
echo 'WARNING: start-notebook.sh is the old name of start-notebook.py' >&2
exec /usr/local/bin/start-notebook.py "$@"
