"""Machine, date and versions of a measurement, and the pages with the results."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "benchmarks.md", ROOT / "README.md"
VERSION = 1
BEGIN, END = "<!-- {name}: written by bench/{program}, do not edit -->", "<!-- end of {name} -->"


def about(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a document other than its measurements."""

    def said(*words: str) -> str:
        done = subprocess.run(words, env=dict(environment), cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "unknown"

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return {
        "version": VERSION,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": said("git", "rev-parse", "HEAD"),
        "command": " ".join(command),
        "machine": {"cores": os.cpu_count(), "memory": memory, "system": system, "load": round(os.getloadavg()[0], 2)},
        "versions": {
            "Docker": said("docker", "version", "--format", "{{.Server.Version}}"),
            "buildx": said("docker", "buildx", "version").split()[1].lstrip("v"),
            "Python": platform.python_version(),
        },
        "seconds": 0.0,
    }


def heading(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sentence with the machine, date and versions of a measurement."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    yield (
        f"Measured on {document['date'][:10]} at commit {document['commit'][:12]} by `{document['command']}` on "
        f"{machine['cores']} cores and {machine['memory'] / 2**30:.0f} GiB ({machine['system']}, load before "
        f"{machine['load']:.1f}); {versions}. It took {max(1, round(document['seconds'] / 60))} minutes."
    )


def replaced(page: str, name: str, program: str, section: str) -> str:
    """Return the page with the section of this name in place of the one before, or at its end."""
    begin, end = BEGIN.format(name=name, program=program), END.format(name=name)
    whole = f"{begin}\n\n{section.strip()}\n\n{end}\n"
    found = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end) + r"\n", re.DOTALL)
    if found.search(page):
        return found.sub(lambda _: whole, page)
    return f"{page.rstrip()}\n\n{whole}"


def write_section(name: str, program: str, section: str, page: Path = PAGE) -> None:
    """Put a section into `docs/benchmarks.md`, or into another page."""
    page.write_text(replaced(page.read_text(encoding="utf-8"), name, program, section), encoding="utf-8")
