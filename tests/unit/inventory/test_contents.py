"""What an inventory says to people."""

from __future__ import annotations

from buildsys.inventory.contents import added_files, folder_sizes, largest_folders, privileged_files, unstable_files
from buildsys.inventory.model import Entry, Inventory, inventory_of


def files(sizes: dict[str, int], mode: int = 0o644) -> Inventory:
    return inventory_of((Entry(path=p, type="f", mode=mode, user=0, group=0, size=s) for p, s in sizes.items()), ())


def test_sizes_are_those_of_all_files_below_a_folder() -> None:
    found = folder_sizes(files({"a/b/c/d": 1, "a/b/e": 2, "a/f": 4, "g": 8}))
    assert found == {"": 15, "a": 7, "a/b": 3}


def test_largest_folders_are_those_that_say_where_the_bytes_are() -> None:
    sizes = folder_sizes(
        files({"usr/lib/a": 60, "usr/share/b": 39, "usr/c": 1, "opt/d/e": 7, "opt/f": 3, "empty/g": 0})
    )
    assert list(largest_folders(sizes, 9).items()) == [("usr/lib", 60), ("usr/share", 39), ("opt", 10), ("opt/d", 7)]
    assert list(largest_folders(sizes, 1)) == ["usr/lib"]
    assert largest_folders(folder_sizes(files({})), 5) == {}


def test_files_that_a_base_has_as_they_are_are_not_added() -> None:
    both, base = files({"a": 1, "b": 2, "c/d": 3}), files({"a": 1, "b": 9, "gone": 4})
    assert list(added_files(both, base).entries) == ["b", "c/d"]
    assert list(added_files(both).entries) == ["a", "b", "c/d"]


def test_files_that_run_as_others_are_found_by_both_bits() -> None:
    modes = {"plain": 0o755, "user": 0o4755, "group": 0o2755, "sticky": 0o1755}
    entries = [Entry(path=path, type="f", mode=mode, user=0, group=0) for path, mode in modes.items()]
    folder = Entry(path="folder", type="d", mode=0o2775, user=0, group=50)
    assert [each.path for each in privileged_files(inventory_of([*entries, folder], ()))] == ["group", "user"]


def test_files_that_differ_from_build_to_build_are_named_with_what_to_do() -> None:
    paths = {
        "var/log/dpkg.log": 1,
        "var/cache/ldconfig/aux-cache": 1,
        "etc/machine-id": 33,
        "etc/ssh/ssh_host_rsa_key": 1,
        "opt/conda/conda-meta/history": 1,
        "opt/app/var/log/dpkg.log": 1,
        "etc/hosts": 1,
    }
    found = unstable_files(files(paths))
    assert {each.path for each in found} == {*paths} - {"opt/app/var/log/dpkg.log", "etc/hosts"}
    assert next(each.fix for each in found if each.path == "etc/machine-id") == "empty it"


def test_empty_files_and_those_of_the_base_are_not_named() -> None:
    base = files({"var/log/dpkg.log": 5, "var/log/alternatives.log": 5})
    found = unstable_files(files({"etc/machine-id": 0, "var/log/dpkg.log": 5, "var/log/alternatives.log": 6}), base)
    assert [each.path for each in found] == ["var/log/alternatives.log"]
