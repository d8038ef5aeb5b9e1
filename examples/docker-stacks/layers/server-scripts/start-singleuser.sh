#!/bin/bash
# The name that it had before it was Python.
echo 'WARNING: start-singleuser.sh is the old name of start-singleuser.py' >&2
exec /usr/local/bin/start-singleuser.py "$@"
