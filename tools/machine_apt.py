"""What this machine's own apt settings say, and packages fetched through them without installing anything."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

APT_FOLDER = Path("/etc/apt")
DEFAULT_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ROLLING_SUITES = frozenset({"oldstable", "stable", "testing", "unstable", "sid"})


class Failure(Exception):
    """Something a person must know about: a message, an optional hint and the exit code."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MachineUnfit(Failure):
    """This machine cannot run a private engine at all."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"this machine cannot run a private engine: {reason}",
            "install Docker Engine 28 or later with buildx 0.29 or later, and an image registry"
            " on `127.0.0.1` (Debian's package is `docker-registry`); then set `DOCKER_HOST` and `BUILDSYS_REGISTRY`",
        )


class CommandFailed(Failure):
    """A command of the system ended with a failure; its last output is part of the message."""

    def __init__(self, command: Sequence[str], code: int, output: str) -> None:
        last_words = "\n".join(f"  | {line}" for line in output.strip().splitlines()[-8:])
        super().__init__(f"`{shlex.join(command)}` ended with {code}\n{last_words}".rstrip())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DebianSource:
    """The mirror of Debian's main archive that this machine uses; `signed_by` is as written, or empty.

    `security_uri` is the mirror of the security archive, empty if the machine uses none.
    """

    uri: str
    suite: str
    signed_by: str
    security_uri: str = ""

    def sources_list(self, codename: str) -> str:
        """The apt sources of a release on the same mirrors, as a file in the one-line form."""
        lines = [f"deb {self.uri} {codename} main", f"deb {self.uri} {codename}-updates main"]
        if self.security_uri:
            lines.append(f"deb {self.security_uri} {codename}-security main")
        return "".join(f"{line}\n" for line in lines)

    @property
    def keyring(self) -> Path | None:
        """The first keyring file that the source names, else Debian's usual one, if it exists."""
        named = [Path(word) for word in re.split(r"[\s,]+", self.signed_by) if word.startswith("/")]
        return next((path for path in [*named, DEFAULT_KEYRING] if path.is_file()), None)


def run_command(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> str:
    """Run a command to its end and return its stdout; raises `CommandFailed` with its last output."""
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(command, done.returncode, done.stderr or done.stdout)
    return done.stdout


def tried_again(work: Callable[[], None], *, waits: Sequence[float] = (2, 5)) -> None:
    """Do the work; when a command of it fails, wait and do it again, as often as there are `waits` in seconds."""
    for seconds in waits:
        with contextlib.suppress(CommandFailed):
            work()
            return
        time.sleep(seconds)
    work()


def machine_lacks() -> list[str]:
    """What this machine lacks of Linux, root rights and Debian's package tools, for a private engine."""
    lacking = []
    if platform.system() != "Linux":
        lacking.append(f"Linux (it runs {platform.system()})")
    elif os.geteuid() != 0:
        lacking.append("root rights")
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        lacking.append("`apt-get` and `dpkg-deb`")
    return lacking


def check_machine() -> None:
    """Raise `MachineUnfit` unless this machine has everything that a private engine needs."""
    if lacking := machine_lacks():
        raise MachineUnfit(f"it lacks {' and '.join(lacking)}")


def read_debian_source(folder: Path = APT_FOLDER) -> DebianSource:
    """Find this machine's Debian mirror in its apt sources; raises `MachineUnfit` when it names none."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {"ID": "a system without os-release"}
    names = ROLLING_SUITES | {release.get("VERSION_CODENAME", "")}
    found = [source for source in _all_sources(folder) if source.suite in names]
    if release["ID"] != "debian" or not found:
        raise MachineUnfit(f"it runs `{release['ID']}`, and `{folder}` names {len(found)} Debian archives")
    # Other archives use Debian's suite names too, so the usual end of the address, then the usual key, decide.
    source = min(
        found,
        key=lambda each: (not re.search(r"debian/?$", each.uri), "debian-archive" not in each.signed_by),
    )
    security = next((each.uri for each in _all_sources(folder) if each.suite.endswith("-security")), "")
    return dataclasses.replace(
        source, uri=_plain_uri(source.uri), security_uri=_plain_uri(security) if security else ""
    )


def _all_sources(folder: Path) -> Iterable[DebianSource]:
    parts = folder / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        yield from parse_deb822(path.read_text(encoding="utf-8"))
    for path in [folder / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from parse_one_line(path.read_text(encoding="utf-8"))


def parse_deb822(text: str) -> Iterable[DebianSource]:
    """Yield every enabled binary source with component `main` of a `.sources` file, in order."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([A-Za-z-]+):((?:.*(?:\n[ \t].*)*))", stanza, flags=re.MULTILINE)
        }
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false"}
        is_binary = "deb" in fields.get("types", "").split()
        if enabled and is_binary and "main" in fields.get("components", "").split():
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield DebianSource(uri=uri, suite=suite, signed_by=fields.get("signed-by", ""))


def parse_one_line(text: str) -> Iterable[DebianSource]:
    """Yield every binary source with component `main` of a file in the one-line form, in order."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if found and "main" in found[4].split():
            signed_by = re.search(r"signed-by=(\S+)", found[1] or "", flags=re.IGNORECASE)
            yield DebianSource(uri=found[2], suite=found[3], signed_by=signed_by[1] if signed_by else "")


def _plain_uri(uri: str) -> str:
    """Replace `mirror+file:` by the first address in that file: debootstrap does not know that form."""
    if not uri.startswith("mirror+file:"):
        return uri.rstrip("/")
    lines = Path(uri.removeprefix("mirror+file:")).read_text(encoding="utf-8").splitlines()
    return next(line.split()[0] for line in lines if line.strip() and not line.startswith("#")).rstrip("/")


def remove_tree(folder: Path) -> None:
    """Remove a folder; what is still mounted below it is unmounted first, never emptied."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    for point in reversed([Path(line.split()[4]) for line in mounts]):
        if point.is_relative_to(folder.resolve()):
            run_command(["umount", "--lazy", str(point)])
    if folder.exists():
        shutil.rmtree(folder)


def fetch_own_packages(packages: Sequence[str], state: Path, downloads: Path) -> None:
    """Download packages of the machine's own release, with what they need and the machine lacks.

    The machine's own sources, pins and package status decide; the lists are private, because the
    machine's may be missing or old.
    """
    environment = _private_apt(state, downloads, settings={})
    _apt(["update"], environment)
    _apt(["install", "--yes", "--download-only", "--no-install-recommends", *packages], environment)


def fetch_newer_packages(
    packages: Sequence[str],
    suites: Sequence[str],
    source: DebianSource,
    state: Path,
    downloads: Path,
    *,
    architecture: str = "",
) -> None:
    """Download packages, and nothing they need, from the first of the suites that has them all.

    They are for the machine's own architecture, unless one is given.
    """
    foreign = {"APT::Architecture": architecture, "APT::Architectures::": architecture} if architecture else {}
    sources = state / "etc" / "newer.sources"
    environment = _private_apt(
        state,
        downloads,
        settings={
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": str(sources.parent),
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Status": str(state / "status"),
            "APT::Update::Error-Mode": "any",
            **foreign,
        },
    )
    (state / "status").touch()
    sources.parent.mkdir(parents=True, exist_ok=True)
    for suite in suites:
        stanza = ["Types: deb", f"URIs: {source.uri}", f"Suites: {suite}", "Components: main"]
        stanza += [f"Architectures: {architecture}"] if architecture else []
        stanza += [f"Signed-By: {source.signed_by}"] if source.signed_by else []
        sources.write_text("\n".join(stanza) + "\n", encoding="utf-8")
        try:
            _apt(["update"], environment)
            _apt(["download", *packages], environment, folder=downloads)
        except CommandFailed:
            if suite == suites[-1]:
                raise
        else:
            return


def _private_apt(state: Path, downloads: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Write an apt configuration whose lists and archives are private; return the environment naming it."""
    for folder in (state / "lists" / "partial", downloads / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    common = {
        "Dir::State::Lists": str(state / "lists"),
        "Dir::Cache::Archives": str(downloads),
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",
    }
    text = "".join(f'{name} "{value}";\n' for name, value in {**common, **settings}.items())
    (state / "apt.conf").write_text(text, encoding="utf-8")
    return {
        **os.environ,
        "APT_CONFIG": str(state / "apt.conf"),
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
    }


def _apt(words: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
    run_command(["apt-get", "--quiet", *words], environment=environment, folder=folder)


def unpack_packages(downloads: Path, root: Path) -> None:
    """Unpack every downloaded package into a new folder that appears only when it is whole.

    A package that cannot be unpacked is removed, so that the next attempt downloads it again.
    """
    partial = root.with_name(root.name + ".partial")
    remove_tree(partial)
    remove_tree(root)
    partial.mkdir(parents=True)
    for package in _newest_packages(downloads):
        try:
            run_command(["dpkg-deb", "--extract", str(package), str(partial)])
        except CommandFailed:
            package.unlink()
            raise
    partial.rename(root)


def _newest_packages(downloads: Path) -> list[Path]:
    """The newest version of each downloaded package: an earlier start may have left an older one there."""
    newest: dict[str, Path] = {}
    for package in sorted(downloads.glob("*.deb")):
        name, version, _ = package.name.replace("%3a", ":").split("_", maxsplit=2)
        known = newest.get(name)
        known_version = known.name.replace("%3a", ":").split("_")[1] if known else ""
        comparison = ["dpkg", "--compare-versions", version, "gt", known_version]
        if known is None or subprocess.run(comparison, check=False).returncode == 0:
            newest[name] = package
    return list(newest.values())
