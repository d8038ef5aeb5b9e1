"""Stand-in for NVIDIA's download site and for a deleted base image."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.standins.apt_repository import fingerprint, keyring_package

_KEYS = Path(__file__).parent / "keys"
_CUDA = "compute/cuda/repos/ubuntu2004/x86_64/cuda-keyring_1.1-1_all.deb"
_LEARNING = "compute/machine-learning/repos/ubuntu{}/x86_64/7fa2af80.pub"
# As parents from before April 2022 are: with a source that `apt-get update` fails on. The host is never asked.
PARENT = """FROM base
RUN apt-get update && apt-get install --yes --no-install-recommends gnupg && rm -rf /var/lib/apt/lists/* && \\
    echo 'deb http://127.0.0.1:9/stale /' >/etc/apt/sources.list.d/cuda.list
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def download_site(folder: Path) -> Iterator[str]:
    """Serve the key files below a folder on loopback; gives the address in place of NVIDIA's."""
    files = {_CUDA: keyring_package(_key("cuda"))}
    files |= {_LEARNING.format(release): _key("learning") for release in (1604, 1804, 2004)}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def arguments() -> Mapping[str, str]:
    """Return the arguments of Dockerfiles that say which keys are the right ones, for the stand-ins."""
    return {
        "CUDA_KEYRING_SHA256": hashlib.sha256(keyring_package(_key("cuda"))).hexdigest(),
        "CUDA_FINGERPRINT": fingerprint(_key("cuda")),
        "LEARNING_FINGERPRINT": fingerprint(_key("learning")),
    }


def _key(name: str) -> bytes:
    return (_KEYS / f"{name}.asc").read_bytes()
