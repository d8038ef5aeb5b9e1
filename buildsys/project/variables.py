"""Which variables of the environment buildsys reads, and which are likely to be misspelt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from buildsys.errors import Diagnostic, nearest

_PREFIX = "BUILDSYS_"
COPY_TO = "BUILDSYS_COPY_TO"
# For plain bake, which takes them by the names that the bake file gives them.
_OF_A_PLAN = ("BUILDSYS_PARENT_", "BUILDSYS_DOWNLOADS_", "BUILDSYS_SECRET_")
# The tests and tools of buildsys itself.
_OF_TESTS = frozenset({"OVERLAY", "ENGINE_HOME", "BROWSER", "FAULTS_ENGINE", "WRITE_TABLE"})

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "BUILDSYS_REGISTRY": "Registry and path of all images, such as `registry.example.com/ml`; takes the place of "
        "`registry:` in stacks.yaml.",
        COPY_TO: "Registries and paths that images are copied to, with blanks between; takes the place of all but the "
        "first of `registry:`. None if BUILDSYS_REGISTRY is set and this is not.",
        "BUILDSYS_TAG": "Tag of images whose stack has no `tags`, in place of `latest`.",
        "BUILDSYS_CACHE": "Where BuildKit keeps its cache: a repository such as `registry.example.com/cache`, "
        "`type=local,/folder` or `type=gha`.",
        "BUILDSYS_CACHE_WRITE": "`0` only reads the cache, `1` also writes it. Default: `1`.",
        "BUILDSYS_EMULATE": "`1` lets a builder emulate platforms that it does not run itself, as `--emulate` does.",
        "BUILDSYS_SETTINGS": "A settings file to read in place of `buildsys.settings.yaml`.",
        "BUILDSYS_PARENTS": "`parents`: `registry=mirror`, with blanks between several.",
        "BUILDSYS_APT": "`apt` of every release: lines of a sources.list, with `;` or line ends between.",
        "BUILDSYS_APT_<CODENAME>": "`apt` of one release, such as `BOOKWORM`.",
        "BUILDSYS_PIP_INDEX_URL": "`pip.index-url`: an address.",
        "BUILDSYS_PIP_EXTRA_INDEX_URL": "`pip.extra-index-url`: addresses with blanks between.",
        "BUILDSYS_PIP_FIND_LINKS": "`pip.find-links`: addresses or folders with blanks between.",
        "BUILDSYS_PIP_TRUSTED_HOST": "`pip.trusted-host`: hosts with blanks between.",
        "BUILDSYS_PROXY_HTTP": "`proxy.http`: such as `http://proxy.example.com:3128`.",
        "BUILDSYS_PROXY_HTTPS": "`proxy.https`.",
        "BUILDSYS_PROXY_NO": "`proxy.no`: hosts without a proxy, with commas between.",
        "BUILDSYS_REGISTRIES_INSECURE": "`registries: {insecure: [host:port]}`, with blanks between several.",
        "BUILDSYS_CA": "`ca`: a file of certificates; a relative path begins in the project.",
        "BUILDSYS_FILES": "`files`: a folder that builds see at `/run/mirrors/files`.",
        "BUILDSYS_DOWNLOADS_<HOST>": "`downloads` of one host: an address. `buildsys variables` prints it.",
        "BUILDSYS_PARENT_<NAME>": "The base image of plain bake. `buildsys bake` refuses any but the locked one.",
        "BUILDSYS_SECRET_<ID>": "The value of the secret `<id>` of a layer, in capitals, with `_` for `-` and `.`.",
        "BUILDSYS_DEBUG": "Any text prints the traceback of a bug of buildsys.",
        "BUILDSYS_MIRRORS": "The folder of mirrors of plain bake; empty for none. `buildsys variables` prints it.",
    }
)
"""Each variable that buildsys reads and what it says; `<…>` is any name."""


def unknown(environ: Mapping[str, str]) -> Iterator[Diagnostic]:
    """Yield a warning for each variable of the environment that looks like one of buildsys and is none."""
    names = [each.removeprefix(_PREFIX) for each in VARIABLES if "<" not in each]
    families = tuple(each.partition("<")[0] for each in VARIABLES if "<" in each)
    for name in sorted(environ):
        word = name.removeprefix(_PREFIX)
        if word in (name, *names) or word in _OF_TESTS or name.startswith(families):
            continue
        # Without what they all begin with, which would make all of them alike.
        near = nearest(next((each for each in names if each.startswith(f"{word}_")), word), names)
        hint = f"did you mean `{_PREFIX}{near}`?" if near else f"run `unset {name}`"
        yield Diagnostic(message=f"`{name}` is set, and buildsys reads no such variable", hint=hint)


def misspelt(environ: Mapping[str, str], known: Collection[str]) -> Iterator[Diagnostic]:
    """Yield a warning for each variable that is nearly one of those that a plan has; `known` are their names."""
    for name in sorted(environ):
        prefix = next((each for each in _OF_A_PLAN if name.startswith(each)), None)
        if prefix is None or name in known:
            continue
        names = [each.removeprefix(prefix) for each in known if each.startswith(prefix)]
        if near := nearest(name.removeprefix(prefix), names):
            message = f"`{name}` is set, and the project has no such variable"
            yield Diagnostic(message=message, hint=f"did you mean `{prefix}{near}`?")
