"""Writes `buildsys.settings.yaml` out of this machine's own settings: Python index, certificates, proxy."""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

HEAD = "# This machine's settings of mirrors, certificates and proxies; written by tools/machine_settings.py.\n"
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "trusted-host")
# In the order in which pip lets the later one win.
SECTIONS = ("global", "install", "download", ":env:")
LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


def pip_settings() -> dict[str, str]:
    """What pip's files and environment say: option to value."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    return read_pip_list(subprocess.run(command, capture_output=True, text=True, check=False).stdout)


def read_pip_list(output: str) -> dict[str, str]:
    """The options in what `pip config list` says: what is for one command goes before what is for all.

    The environment goes before both. Options for commands that no layer runs are left out; the values of a list
    are set apart by spaces.
    """
    found: dict[str, tuple[int, str]] = {}
    for section, option, quoted in re.findall(r"^([a-z:]+)\.([a-z-]+)=(['\"].*)$", output, flags=re.MULTILINE):
        value = ast.literal_eval(quoted)
        if section in SECTIONS and SECTIONS.index(section) >= found.get(option, (0, ""))[0]:
            found[option] = (SECTIONS.index(section), " ".join(str(value).split()))
    return {option: value for option, (_, value) in sorted(found.items())}


def reaches_containers(address: str) -> bool:
    """Whether a container can use an address: one on loopback means another machine there, a file another file."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    return parts.scheme != "file" and bool(parts.hostname) and not LOOPBACK.fullmatch(parts.hostname or "")


def settings_text(pip: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The settings file as text, empty if the machine says nothing; what a container cannot use is left out."""
    lines = []
    known = {
        option: [word for word in pip.get(option, "").split() if option == "trusted-host" or "://" in word]
        for option in PIP_OPTIONS
    }
    known = {option: [word for word in words if reaches_containers(word)] for option, words in known.items()}
    if any(known.values()):
        lines.append("pip:")
        lines += [f"  {option}: {json.dumps(words)}" for option, words in known.items() if words]
    bundles = [*(environment.get(name) for name in CA_VARIABLES), pip.get("cert")]
    if ca := next((path for path in bundles if path and Path(path).is_file()), None):
        lines.append(f"ca: {json.dumps(str(Path(ca).resolve()))}")
    proxies = {
        kind: environment.get(f"{kind}_proxy") or environment.get(f"{kind.upper()}_PROXY") for kind in ("http", "https")
    }
    usable = {kind: address for kind, address in proxies.items() if address and reaches_containers(address)}
    if usable:
        # What is reached directly says nothing without a proxy.
        if direct := environment.get("no_proxy") or environment.get("NO_PROXY"):
            usable["no"] = direct
        lines.append("proxy:")
        lines += [f"  {kind}: {json.dumps(value)}" for kind, value in usable.items()]
    return HEAD + "".join(f"{line}\n" for line in lines) if lines else ""


def write_settings(root: Path) -> Path | None:
    """Write the file unless there is one or nothing to say; return where it is, or none."""
    path = root / "buildsys.settings.yaml"
    if not path.exists():
        text = settings_text(pip_settings(), os.environ)
        if not text:
            return None
        path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").strip()).parse_args()
    written = write_settings(Path.cwd())
    print(f"{written} is there" if written else "this machine says nothing of mirrors")
