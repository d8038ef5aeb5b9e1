#!/usr/bin/env python3
"""What a look-up costs beyond the registry's own time: HEADs through the client against bare ones, in turn.

Needs a registry on loopback named by BUILDSYS_REGISTRY. The references do not exist, so each is answered with 404.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from buildsys.oci.client import Registry, ask_many
from buildsys.oci.reference import MANIFEST_TYPES, Reference

LOOKUPS = 1000
THREADS = 8
ROUNDS = 7


def bare(host: str, paths: list[str]) -> float:
    """Ask with kept connections and nothing else; return the seconds."""
    kept = threading.local()

    def ask(path: str) -> None:
        if not hasattr(kept, "connection"):
            kept.connection = http.client.HTTPConnection(host)
        kept.connection.request("HEAD", path, headers={"Accept": ", ".join(MANIFEST_TYPES)})
        kept.connection.getresponse().read()

    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        list(pool.map(ask, paths))
    return time.monotonic() - began


def main() -> None:
    """Measure both in turn."""
    host, _, repository = os.environ["BUILDSYS_REGISTRY"].partition("/")
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(LOOKUPS)]
    references = [Reference.parse(f"{host}/{repository}/nodes:{key}") for key in keys]
    paths = [f"/v2/{repository}/nodes/manifests/{key}" for key in keys]
    own, raw = [], []
    for _ in range(ROUNDS):
        with Registry() as registry:
            began = time.monotonic()
            ask_many(references, registry.head, THREADS)
            own.append(time.monotonic() - began)
        raw.append(bare(host, paths))
    more = statistics.median(a - b for a, b in zip(own, raw, strict=True))
    print(
        f"{LOOKUPS} look-ups: {statistics.median(own):.2f} s, bare {statistics.median(raw):.2f} s, "
        f"{more / LOOKUPS * 100 * 1000:.1f} ms more per hundred"
    )


if __name__ == "__main__":
    main()
