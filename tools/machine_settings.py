"""Writes `buildsys.settings.yaml` out of this machine's own settings: Python index, certificates, proxy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HEAD = (
    "# What this machine's own settings say of mirrors, certificates and proxies; made by tools/machine_settings.py.\n"
)
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PIP_OPTIONS = ("index-url", "extra-index-url", "find-links", "trusted-host")


def pip_settings() -> dict[str, str]:
    """What pip's files and environment say: option to value, the environment's last."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^(?:global|install|download|:env:)\.([a-z-]+)='(.*)'$", told, flags=re.MULTILINE)
    return dict(sorted(found, key=lambda pair: pair[0]))


def settings_text(pip: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The settings file as text, empty if the machine says nothing; what a container cannot see is left out."""
    lines = []
    known = {
        option: [word for word in pip.get(option, "").split() if option == "trusted-host" or "://" in word]
        for option in PIP_OPTIONS
    }
    known = {option: [word for word in words if not word.startswith("file:")] for option, words in known.items()}
    if any(known.values()):
        lines.append("pip:")
        lines += [f"  {option}: {json.dumps(words)}" for option, words in known.items() if words]
    ca = next((path for name in CA_VARIABLES if (path := environment.get(name))), None) or pip.get("cert")
    if ca and Path(ca).is_file():
        lines.append(f"ca: {json.dumps(ca)}")
    proxies = {
        kind: environment.get(f"{kind}_proxy") or environment.get(f"{kind.upper()}_PROXY")
        for kind in ("http", "https", "no")
    }
    if any(proxies.values()):
        lines.append("proxy:")
        lines += [f"  {kind}: {json.dumps(value)}" for kind, value in proxies.items() if value]
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
    written = write_settings(Path.cwd())
    print(f"{written} is there" if written else "this machine says nothing of mirrors")
