"""Which platforms a builder runs itself, and which it may emulate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from buildsys.buildkit.docker import Docker, answer_of, platforms_in
from buildsys.errors import Unavailable, enumerated

# What processors of a platform run too, where the builder lists it.
_ALSO_RUNS = {"386": "amd64", "arm": "arm64"}


def check_emulation(docker: Docker, wanted: Mapping[str, Sequence[str]], *, asked: bool) -> None:
    """Raise `Unavailable` for steps of a platform that a builder would emulate, unless that is asked for and it can.

    `wanted` has the targets that run commands, by platform. A builder that has not started yet is started.
    """
    if not wanted:
        return
    native, known = docker.native, docker.platforms
    if not native:
        named = (docker.chosen,) if docker.chosen else ()
        native, known = platforms_in(answer_of((*docker.buildx, "inspect", "--bootstrap", *named)).stdout)
    # A builder that says nothing of its platforms is left to say what it cannot run.
    foreign = {each: targets for each, targets in wanted.items() if native and not _runs(each, native, known)}
    if not foreign:
        return
    names = enumerated(sorted(foreign))
    targets = [target for each in foreign.values() for target in each]
    if not asked:
        more = f" and {len(targets) - 1} more targets" if len(targets) > 1 else ""
        message = f"the builder `{docker.builder}` runs {enumerated(native)}, and `{targets[0]}`{more} need {names}"
        hint = f"add a machine for {names} with `docker buildx create --append`, or `--emulate`, which is slow"
        raise Unavailable(message if more else message.replace(" need ", " needs "), hint=hint)
    missing = sorted(each for each in foreign if not _is_known(each, known))
    if missing:
        first = missing[0].split("/")[1]
        hint = f"run `docker run --privileged --rm tonistiigi/binfmt --install {first}` on its machine, or install"
        message = f"the builder `{docker.builder}` cannot emulate {enumerated(missing)}"
        raise Unavailable(message, hint=f"{hint} Debian's `qemu-user-static`")


def _runs(platform: str, native: Iterable[str], known: Iterable[str]) -> bool:
    processors = {each.split("/")[1] for each in native}
    processor = platform.split("/")[1]
    return processor in processors or (_ALSO_RUNS.get(processor) in processors and _is_known(platform, known))


def _is_known(platform: str, known: Iterable[str]) -> bool:
    """Whether a builder lists a platform; one of 64-bit Arm without a variant is version 8."""
    return platform.removesuffix("/v8") in {each.removesuffix("/v8") for each in known}
