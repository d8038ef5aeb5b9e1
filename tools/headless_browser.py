#!/usr/bin/env python3
"""Finds a Chromium for the tests of pages; where there is none, unpacks Debian's in a folder of its own.

The machine is left as it was. `BUILDSYS_BROWSER` names a program to use instead.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import machine_apt
from engine_instance import locked, say
from machine_apt import CommandFailed, Failure

# Debian's headless Chromium is one program without a window system's libraries: 90 MB, where the whole one and its
# driver are twice that. The font is included because a bare machine has none, and a page without glyphs proves little.
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FONT_OF = {
    "system-ui": "DejaVu Sans",
    "sans-serif": "DejaVu Sans",
    "sans": "DejaVu Sans",
    "monospace": "DejaVu Sans Mono",
}
PROGRAM = Path("usr/lib/chromium/chromium-headless-shell")
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
<dir>/usr/share/fonts</dir><dir>{root}/usr/share/fonts</dir><cachedir>{cache}</cachedir>
{aliases}
</fontconfig>
"""


class NoBrowser(Failure):
    """There is no Chromium, and none can be set up."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no Chromium: {reason}", "install Chromium, or name one by `BUILDSYS_BROWSER`")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Browser:
    """A Chromium: its program, and what its environment needs so that it finds its parts."""

    program: Path
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def default_home() -> Path:
    """A folder in the user's cache, beside that of the private engine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "buildsys" / "browser"


def find_or_install(home: Path | None = None) -> Browser:
    """Return the machine's own Chromium, else a private one; raises `NoBrowser` with the reason."""
    named = os.environ.get("BUILDSYS_BROWSER")
    if named:
        if not Path(named).is_file():
            raise NoBrowser(f"`BUILDSYS_BROWSER` names `{named}`, which is not a file")
        return Browser(program=Path(named))
    for command in COMMANDS:
        if found := shutil.which(command):
            return Browser(program=Path(found))
    return _private((home or default_home()).resolve())


def _private(home: Path) -> Browser:
    root = home / "root"
    with locked(home):
        if not (root / ".complete").is_file():
            _install(home)
    libraries = sorted({str(path.parent) for path in root.glob("**/lib*.so*") if "chromium" not in path.parts})
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "FONTCONFIG_FILE": str(home / "fonts.conf")}
    return Browser(program=root / PROGRAM, environment=environment)


def _install(home: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise NoBrowser("this machine lacks `apt-get` and `dpkg-deb`")
    downloads = home / "downloads"
    say(f"downloading Chromium into {home}")

    def fetch_and_unpack() -> None:
        machine_apt.fetch_own_packages(PACKAGES, home / "apt", downloads)
        machine_apt.unpack_packages(downloads, home / "root")

    try:
        machine_apt.tried_again(fetch_and_unpack)
    except CommandFailed as failure:
        raise NoBrowser(f"Debian's packages are not available: {failure}") from failure
    if not (home / "root" / PROGRAM).is_file():
        raise NoBrowser(f"the packages hold no `{PROGRAM}`")
    aliases = "\n".join(
        f'<alias binding="same"><family>{name}</family><prefer><family>{font}</family></prefer></alias>'
        for name, font in FONT_OF.items()
    )
    fonts = FONTS.format(root=home / "root", cache=home / "fonts", aliases=aliases)
    (home / "fonts.conf").write_text(fonts, encoding="utf-8")
    for folder in (downloads, home / "apt"):
        machine_apt.remove_tree(folder)
    (home / "root" / ".complete").touch()


def main() -> int:
    """Print the program's path."""
    try:
        print(find_or_install().program)
    except Failure as failure:
        say(f"error: {failure}\nhint: {failure.hint}")
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
