"""A program that answers like docker's client with an engine that works, but for the kind of call that ODD names."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import write

DOCKER = """\
#!/bin/sh
kind=
for word; do last=$word; done
case " $* " in
    *" info "*) kind=info ;;
    *" --help "*) kind=help ;;
    *" --print "*) kind=print ;;
    *rawjson*) kind=bake ;;
    " image ls "*) kind=list ;;
    " image inspect "*) kind=image ;;
    " context "*) kind=context ;;
    " --version ") kind=client ;;
    *" inspect "*) kind=builder ;;
    *) test "$last" != version || kind=version ;;
esac
test $kind != bake || exec >&2
if test "$kind" = "${ODD-none}"; then
    case $HOW in
        hang) exec sleep 300 ;;
        endless) exec yes '{"vertexes": []}' ;;
        endless-errors) exec yes >&2 ;;
    esac
    cat "$HOW"
    exit $CODE
fi
case $kind in
    info) echo '{"ServerVersion": "28.5.2", "DriverStatus": [["x", "io.containerd.snapshotter.v1"]]}' ;;
    version) echo 'github.com/docker/buildx v0.29.1 x' ;;
    client) echo 'Docker version 28.5.2, build x' ;;
    context) echo unix:///var/run/docker.sock ;;
    builder) printf 'Name: here\\nDriver: docker\\n' ;;
    help) echo '      --allow stringArray' ;;
    print)
        while test "$1" != --print; do shift; done
        shift
        comma=
        printf '{"target": {'
        for word; do
            printf '%s"%s": {"tags": ["x:1"]}' "$comma" "$word"
            comma=,
        done
        echo '}}' ;;
esac
exit 0
"""


def put_docker(folder: Path) -> str:
    """Write the program, and return a PATH that has it."""
    path = write(folder, "bin/docker", DOCKER)
    path.chmod(0o755)
    return f"{path.parent}:/usr/bin:/bin"
