"""A stand-in for the Miniconda installer, whose site no test can rely on: it is served to the real Dockerfile.

It is what the real one is to a Dockerfile: one shell script that unpacks itself, honours `-b -p PREFIX`, and leaves a
Python and a `conda` that answer. What it installs is the system's own Python, so nothing of conda is proven by it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path

SCRIPT = r"""#!/bin/sh
set -eu
prefix= batch=
while getopts bp: option; do
    case $option in
    b) batch=yes ;;
    p) prefix=$OPTARG ;;
    *) exit 2 ;;
    esac
done
[ -n "$batch" ] && [ -n "$prefix" ] || { echo 'usage: -b -p PREFIX' >&2; exit 2; }
[ ! -e "$prefix" ] || { echo "ERROR: File or directory already exists: '$prefix'" >&2; exit 1; }
mkdir -p "$prefix"
sed '1,/^__PAYLOAD__$/d' "$0" | base64 --decode | tar --extract --gzip --directory "$prefix"
python3 -m venv --without-pip "$prefix"
mkdir -p "$prefix/pkgs/cache" "$prefix/lib/__pycache__"
touch "$prefix/pkgs/cache/big.tar" "$prefix/lib/__pycache__/x.pyc"
chmod 0755 "$prefix/bin/conda"
exit 0
__PAYLOAD__
"""

CONDA = r"""#!/bin/sh
# Stand-in for conda: answers, and notes what it was asked.
prefix=$(dirname "$(dirname "$(readlink -f "$0")")")
echo "$*" >>"$prefix/asked"
case "$1" in
--version) echo 'conda 0.0.0 (stand-in)' ;;
install | clean) ;;
env)
    while [ $# -gt 0 ]; do
        case "$1" in
        --prefix) target=$2 ;;
        --file) file=$2 ;;
        esac
        shift
    done
    [ -f "$file" ] || exit 1
    python3 -m venv --without-pip "$target"
    cp "$file" "$target/installed-from.yml"
    ;;
*) exit 2 ;;
esac
"""


def write_installer(path: Path) -> str:
    """Write the script and return its sha256 in hexadecimal digits."""
    archive = io.BytesIO()
    with gzip.GzipFile(fileobj=archive, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        entry = tarfile.TarInfo("bin/conda")
        entry.size, entry.mode = len(CONDA.encode()), 0o755
        tar.addfile(entry, io.BytesIO(CONDA.encode()))
    data = SCRIPT.encode() + base64.encodebytes(archive.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
