"""Which promises of a layer an inventory breaks, and what the message says."""

from __future__ import annotations

import pytest

from buildsys.inventory.model import Entry, Inventory, inventory_of
from buildsys.inventory.promises import artifact_problems, base_problems, reset_folders, resolved, shared_paths


def tree(**given: str) -> Inventory:
    return listed({path.replace("_", "/"): words for path, words in given.items()})


def listed(given: dict[str, str]) -> Inventory:
    """Return an inventory of `path: "type mode owner target"`; what is left out is that of a plain folder."""
    entries = []
    for path, words in given.items():
        kind, mode, user, target = (words.split() + ["d", "755", "0", ""][len(words.split()) :])[:4]
        entries.append(Entry(path=path, type=kind, mode=int(mode, 8), user=int(user), group=int(user), target=target))
    return inventory_of(entries, ())


def messages(found: object) -> list[str]:
    return [each.message for each in found]  # type: ignore[attr-defined]


def test_artifact_with_nothing_but_its_prefix_keeps_its_promise() -> None:
    assert artifact_problems(tree(opt="", opt_app="d 700 1000", opt_app_bin="f"), ("/opt/app",)) == ()


def test_prefix_may_be_a_file() -> None:
    assert artifact_problems(listed({"usr": "", "usr/bin": "", "usr/bin/tini": "f 755"}), ("/usr/bin/tini",)) == ()


def test_artifact_of_two_prefixes_has_both_and_nothing_else() -> None:
    whole = {"opt": "", "opt/a": "", "usr": "", "usr/share": "", "usr/share/b": ""}
    assert artifact_problems(listed(whole), ("/opt/a", "/usr/share/b")) == ()
    found = artifact_problems(listed({"opt": "", "opt/a": "", "usr": ""}), ("/opt/a", "/usr/share/b"))
    assert messages(found) == ["it has no `/usr/share/b`, expected its prefix"]
    found = artifact_problems(listed({**whole, "opt/c": "", "usr/share": "d 700"}), ("/opt/a", "/usr/share/b"))
    assert messages(found) == [
        "it has `/opt/c` outside of its prefixes `/opt/a`, `/usr/share/b`",
        "`/usr/share` above its prefix is a folder of 0:0 with mode 0700, expected one of root with mode 0755",
    ]


def test_base_is_looked_at_above_each_prefix() -> None:
    base = listed({"opt": "", "srv": "d 700"})
    assert messages(base_problems(base, ("/opt/a", "/srv/b"))) == messages(base_problems(base, ("/srv/b",)))
    assert len(base_problems(base, ("/opt/a", "/srv/b"))) == 1


def test_folder_outside_is_named_once_and_not_what_is_in_it() -> None:
    found = artifact_problems(tree(etc="", etc_passwd="f", opt="", opt_app="", opt_apparent="f"), ("/opt/app",))
    assert messages(found) == ["it has `/etc`, `/opt/apparent` outside of its prefix `/opt/app`"]


def test_many_paths_outside_are_counted() -> None:
    given = {"opt": "", "opt/app": "", **{f"x{number}": "f" for number in range(9)}}
    (message,) = messages(artifact_problems(listed(given), ("/opt/app",)))
    assert "`/x0`, `/x1`, `/x2` and 6 more" in message


@pytest.mark.parametrize(("given", "words"), [({}, "it is empty"), ({"opt": ""}, "it has no `/opt/app`")])
def test_artifact_without_its_prefix_breaks_its_promise(given: dict[str, str], words: str) -> None:
    assert messages(artifact_problems(listed(given), ("/opt/app",))) == [f"{words}, expected its prefix"]


@pytest.mark.parametrize(
    ("above", "words"),
    [
        ("d 700", "a folder of 0:0 with mode 0700"),
        ("d 755 1000", "a folder of 1000:1000 with mode 0755"),
        ("d 2755", "mode 2755"),
        ("l 777 0 x", "a symlink to `x`"),
    ],
)
def test_folder_above_the_prefix_is_plain(above: str, words: str) -> None:
    (message,) = messages(artifact_problems(listed({"opt": above, "opt/app": ""}), ("/opt/app",)))
    assert message.startswith("`/opt` above its prefix")
    assert words in message


def test_base_without_the_folders_of_a_prefix_takes_any() -> None:
    assert base_problems(tree(usr=""), ("/opt/app",)) == ()


def test_symlink_above_a_prefix_is_named_with_the_prefix_that_works() -> None:
    base = listed({"lib": "l 777 0 usr/lib", "usr": "", "usr/lib": ""})
    (found,) = base_problems(base, ("/lib/firmware/acme",))
    assert "`/lib` is a symlink to `usr/lib`" in found.message
    assert found.hint == "write `prefix: /usr/lib/firmware/acme`"


def test_prefix_that_is_a_symlink_itself_is_refused() -> None:
    (found,) = base_problems(listed({"opt": "", "opt/app": "l 777 0 /srv"}), ("/opt/app",))
    assert "`/opt/app` is a symlink" in found.message


def test_file_where_a_folder_would_be_is_refused() -> None:
    (found,) = base_problems(listed({"opt": "f 644"}), ("/opt/app",))
    assert "`/opt` is no folder" in found.message


@pytest.mark.parametrize("above", ["d 700 1000", "d 1777", "d 2775", "d 700"])
def test_folder_of_others_above_a_prefix_is_refused(above: str) -> None:
    (found,) = base_problems(listed({"home": "", "home/dev": above}), ("/home/dev/.local/app",))
    assert "`/home/dev` is a folder of" in found.message


def test_prefix_itself_may_be_of_others_in_the_base() -> None:
    assert base_problems(listed({"opt": "", "opt/app": "d 700 1000"}), ("/opt/app",)) == ()


def test_symlinks_in_a_circle_lead_nowhere() -> None:
    base = listed({"a": "l 777 0 b", "b": "l 777 0 a"})
    assert resolved(base, "a/x") == ""
    (found,) = base_problems(base, ("/a/x",))
    assert found.hint == "use another prefix"


def test_two_artifacts_share_equal_folders_and_nothing_else() -> None:
    one = tree(opt="", opt_a="", opt_a_f="f", opt_c="d 700")
    other = tree(opt="", opt_a="", opt_a_f="f", opt_c="d 755")
    assert shared_paths(one, other, depends=False) == ("opt/a/f", "opt/c")


def test_artifact_on_another_may_replace_its_files_but_no_folder_by_something_else() -> None:
    one, other = tree(opt="", opt_a="", opt_b="d", opt_f="f"), tree(opt="", opt_a="d 700", opt_b="l 777 0 x", opt_f="f")
    assert shared_paths(one, other, depends=True) == ("opt/b",)


@pytest.mark.parametrize(("there", "words"), [("d", "a folder"), ("l 777 0 x", "a symlink to `x`")])
def test_file_replaces_files_of_the_base_and_neither_folders_nor_symlinks(there: str, words: str) -> None:
    files = {"/etc/motd"}
    assert base_problems(listed({"etc": "", "etc/motd": "f 600 7"}), files, files) == ()
    (message,) = messages(base_problems(listed({"etc": "", "etc/motd": there}), files, files))
    assert message.startswith(f"`/etc/motd` is {words}")
    assert message.endswith("and the artifact would replace it by a file")


def test_artifact_with_a_prefix_below_that_of_the_first_resets_no_folder_of_it() -> None:
    earlier = listed({"opt": "", "opt/env": "d 2775 1000", "opt/env/lib": ""})
    assert reset_folders(earlier, ["/opt/env", "/srv/x"]) == ()
    (message,) = messages(reset_folders(earlier, ["/opt/env/lib/x"]))
    assert message == "`/opt/env` is a folder of 1000:1000 with mode 2775 in the first, and the second would reset it"
