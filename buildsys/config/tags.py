"""Under which repository and tags each stack is published; a tag of several stacks is that of the newest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from typing import TypeAlias

from buildsys.config.lines import check_template, check_variable
from buildsys.config.matrix import PublishedFields, Row, TagFields, check_values
from buildsys.config.model import Stack
from buildsys.errors import Diagnostic, Location
from buildsys.names import CUSTOM_SUFFIX, architecture, repository_problem, tag_problem
from buildsys.recipes import template
from buildsys.recipes.versions import Key, is_prerelease, key_of, version_problem
from buildsys.records.shapes import Reader
from buildsys.records.source import Path
from buildsys.values import dataclass

# What a family, a row or a stack says, and where; the first that says something about a field decides.
Declared: TypeAlias = tuple[PublishedFields, Path]
_LONGEST_TAG = 128
_LIKE_REPOSITORY = "write a path below the registry, such as `team/image`"
_LIKE_TAG = "change the text of the tag"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A tag that a stack declares, and where.

    `versions` are those by which the newest stack gets it, None for a tag of one stack alone; `schemes` are theirs.
    """

    tag: str
    location: Location
    versions: tuple[Key, ...] | None = None
    schemes: tuple[str, ...] = ()
    is_prerelease: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """A stack with the tags that it declares, before those of several stacks are given to the newest."""

    stack: Stack
    tags: tuple[Claim, ...]


def _templates(declared: Iterable[Declared]) -> Iterator[tuple[str, Path]]:
    """Yield every template of names of images, with its path."""
    for fields, path in declared:
        if fields.repository is not None:
            yield fields.repository, (*path, "repository")
        yield from ((each.tag, (*path, "tags", index, "tag")) for index, each in enumerate(fields.tags))


def _named(declared: Iterable[Declared]) -> Iterator[tuple[str, Path]]:
    """Yield every variable that tags name outside of templates, with the path of its name."""
    for index, each, path in _tags(declared):
        at = (*path, "tags", index)
        yield from ((name, (*at, "newest", number)) for number, name in enumerate(each.newest))
        yield from ((name, (*at, "when", number)) for number, name in enumerate(each.when.has))


def check_tags(declared: Iterable[Declared], rows: list[Row], reader: Reader) -> set[str]:
    """Return the variables that names of images use, after adding what is wrong with them whatever a row has."""
    declared, used = list(declared), set[str]()
    variables = frozenset(key for row in rows for key in row.values)
    for text, at in _templates(declared):
        check_template(text, at, variables, reader)
        used |= template.names(text)
    for name, at in _named(declared):
        check_variable(name, reader.source.location(at), variables, reader)
        used.add(name)
    for index, each, path in _tags(declared):
        at = (*path, "tags", index)
        if len(each.versions) not in (1, len(each.newest)):
            found = f"`versions` lists {len(each.versions)} schemes for {len(each.newest)} of `newest`"
            reader.wrong(found, (*at, "versions"), "name one scheme for all variables, or one for each")
        check_values(each.when.values, rows, (*at, "when"), reader)
        used.update(name for name, _ in each.when.values)
    return used


def as_written(fields: PublishedFields, path: Path, reader: Reader) -> PublishedFields:
    """Return what a single stack says, after adding every diagnostic: it has no rows, and so no templates."""
    for index, each, _ in _tags([(fields, path)]):
        at: Path = (*path, "tags", index)
        for name in ("newest", "when"):
            if (*at, name) in reader.source.values:
                hint = f"remove `{name}`, or declare a family, whose `matrix` has rows"
                message = f"`{name}` has no meaning in the single stack `{path[-1]}`, which has no rows"
                reader.wrong(message, (*at, name), hint, key=True)
        if problem := tag_problem(each.tag):
            reader.wrong(problem, (*at, "tag"), _LIKE_TAG)
    if fields.repository is not None and (problem := repository_problem(fields.repository)):
        reader.wrong(problem, (*path, "repository"), _LIKE_REPOSITORY)
    repository = None if fields.repository is None else template.literally(fields.repository)
    tags = (TagFields(tag=template.literally(each.tag), location=each.location) for each in fields.tags)
    return replace(fields, repository=repository, tags=tuple(tags))


def _tags(declared: Iterable[Declared]) -> Iterator[tuple[int, TagFields, Path]]:
    return ((index, each, path) for fields, path in declared for index, each in enumerate(fields.tags))


def claims_of(stack: Stack, row: Row, declared: Iterable[Declared], reader: Reader) -> Claims:
    """Return a stack as it is published, with the tags that it declares, after adding every diagnostic.

    `declared` is what counts for it, the most particular first.
    """
    said = list(declared)
    repository = stack.name
    if found := next(((text, path) for text, path in _templates(said) if path[-1] == "repository"), None):
        repository = _filled(stack, row, *found, reader) or repository
    if found and (problem := repository_problem(repository)):
        _report(problem, reader.source.location(found[1]), _LIKE_REPOSITORY, reader)
    fields, path = next(((fields, path) for fields, path in said if fields.tags), (PublishedFields(), ()))
    claims = [
        claim
        for index, each in enumerate(fields.tags)
        if each.when.holds(row.values) and (claim := _claim(stack, row, each, (*path, "tags", index), reader))
    ]
    if fields.tags and not any(each.when.holds(row.values) for each in fields.tags):
        hint = "add a tag to `tags`, or remove the `when` of one"
        _report(f"no tag applies to `{stack.name}`", row.location, hint, reader)
    until = next((each.supported_until for each, _ in said if each.supported_until), None)
    budget = next((each.budget for each, _ in said if each.budget), None)
    stack = replace(stack, repository=repository, supported_until=until, budget=budget)
    return Claims(stack=stack, tags=tuple(claims))


def _filled(stack: Stack, row: Row, text: str, path: Path, reader: Reader) -> str | None:
    """Return a template with the values of a row, None after adding the diagnostic that one is absent."""
    try:
        return template.fill_parts(text, row.values)
    except KeyError as error:
        name, field = error.args[0], next(step for step in reversed(path) if isinstance(step, str))
        message = f"the {field} `{text}` uses `{name}`, which `{stack.name}` does not have"
        hint = f"put the part in brackets: `[-{name}{{{name}}}]`"
        if field == "tag":
            hint = f"{hint}, or add `when: {name}` to the tag"
        _report(message, row.location, hint, reader)
        return None


def _report(message: str, location: Location, hint: str, reader: Reader) -> None:
    """Add a diagnostic, unless a different stack of the row has led to it."""
    if all((each.location, each.hint) != (location, hint) for each in reader.diagnostics):
        reader.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))


def _claim(stack: Stack, row: Row, fields: TagFields, path: Path, reader: Reader) -> Claim | None:
    tag = _filled(stack, row, fields.tag, (*path, "tag"), reader)
    if tag is None:
        return None
    if problem := _problem(tag, stack):
        location, hint = fields.location, _LIKE_TAG
        if not tag:
            hint = f"add `when` to the tag `{fields.tag}`, for rows that have its parts"
        for name in sorted(template.names(fields.tag) & row.values.keys()):
            # With another value it would be a tag.
            if not _problem(template.fill_parts(fields.tag, {**row.values, name: "1"}), stack):
                location, hint = row.locations[name], "write a value that a tag can have, or change the tag"
        _report(problem, location, hint, reader)
        return None
    schemes = fields.versions * len(fields.newest) if len(fields.versions) == 1 else fields.versions
    ranked: list[Key] = []
    before = False
    for name, scheme in zip(fields.newest, schemes, strict=False):
        value, found = row.values.get(name), None
        if value is None:
            message = f"`newest` of the tag `{fields.tag}` names `{name}`, which `{stack.name}` does not have"
            found = message, row.location, f"add `when: {name}` to the tag, or `{name}` to the row"
        elif problems := version_problem(value, scheme):
            found = f"`{value}` {problems[0]}, by which `newest` compares `{name}`", row.locations[name], problems[1]
        if found:
            _report(*found, reader)
            return None
        assert value is not None
        ranked.append(key_of(value, scheme))
        before = before or is_prerelease(value, scheme)
    return Claim(
        tag=tag,
        location=fields.location,
        versions=tuple(ranked) if fields.newest else None,
        schemes=tuple(schemes),
        is_prerelease=before,
    )


def _problem(tag: str, stack: Stack) -> str | None:
    """Return why a stack cannot have a tag, or None; one of several platforms has an end for each in the bake file."""
    ends = [len(f"-{architecture(each)}") for each in stack.platforms] if len(stack.platforms) > 1 else [0]
    if (problem := tag_problem(tag)) or len(tag) + max(ends) <= _LONGEST_TAG:
        return problem
    most = _LONGEST_TAG - max(ends)
    return f"the tag `{tag}` has {len(tag)} characters, expected at most {most} before the architecture"


def with_tags(stacks: Iterable[Claims], diagnostics: list[Diagnostic]) -> list[Stack]:
    """Return the stacks with their tags: of those that several declare, the newest stack has each.

    A deprecated stack has none of these, and a pre-release none that a final release declares. Adds a diagnostic for
    each tag that two stacks would have, and each stack that would have none.
    """
    stacks = list(stacks)
    by_repository: dict[str, list[Claims]] = {}
    for each in stacks:
        by_repository.setdefault(each.stack.repository, []).append(each)
    names = {each.stack.name for each in stacks}
    given: dict[str, Stack] = {}
    for repository, several in by_repository.items():
        other = repository.removesuffix(CUSTOM_SUFFIX)
        if other != repository and other in names and repository not in names:
            message = f"the repository `{repository}` is reserved for images of Dockerfiles on `{other}`"
            hint, location = "rename the repository", several[0].stack.location
            diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
        found = _Repository(name=repository, members=several, diagnostics=diagnostics)
        given |= {stack.name: stack for stack in found.given()}
    return [given[each.stack.name] for each in stacks]


@dataclass(kw_only=True, slots=True)
class _Repository:
    """Who has which tag of one repository; what two stacks would have is reported once for two places."""

    name: str
    members: list[Claims]
    diagnostics: list[Diagnostic]
    owners: dict[str, Stack] = field(default_factory=dict)
    reported: set[tuple[Location, ...]] = field(default_factory=set)

    def given(self) -> Iterator[Stack]:
        """Yield its stacks with their tags."""
        self._check_default_tags()
        by_tag: dict[str, list[tuple[Stack, Claim]]] = {}
        for each in self.members:
            for claim in each.tags:
                if claim.versions is None or each.stack.deprecated is None:
                    by_tag.setdefault(claim.tag, []).append((each.stack, claim))
        for tag, claims in by_tag.items():
            self._give(tag, _newest(claims))
        for each in self.members:
            own = dict.fromkeys(claim.tag for claim in each.tags if self.owners.get(claim.tag) is each.stack)
            if each.tags and not own and not self.reported:
                self._report_without_tag(each.stack)
            self._check_architectures(each.stack, own)
            yield replace(each.stack, tags=tuple(own))

    def _check_default_tags(self) -> None:
        """Report a stack without tags that is not alone: its tag is what BUILDSYS_TAG says in a run."""
        untagged = [each.stack for each in self.members if not each.tags]
        others = [each.stack for each in self.members if each.tags] or untagged[:1]
        if untagged and len(self.members) > 1:
            hint = "give each of them `tags`, or a `repository` of its own"
            self._report("${BUILDSYS_TAG}", others[0], untagged[-1], hint)

    def _give(self, tag: str, best: list[tuple[Stack, Claim]]) -> None:
        stack, claim = best[0]
        self.owners[tag] = stack
        for other, another in best:
            if other is not stack:
                hint = "add a variable to `newest` in which they differ, or use it in the tag"
                if claim.versions is None or another.versions is None:
                    hint = "use more variables in the tag, or add `newest` to it where several stacks may have it"
                elif claim.schemes != another.schemes:
                    hint = "give both tags the same number of variables in `newest`, and the same `versions`"
                self._report(tag, stack, other, hint, claim.location, another.location)

    def _report(self, tag: str, one: Stack, other: Stack, hint: str, *places: Location) -> None:
        # Of many rows with one tag, the first two are reported.
        key = places or (one.location, other.location)
        if key in self.reported:
            return
        self.reported.add(key)
        where = f", which is at {one.location}," if one.location != other.location else ""
        message = f"the tag `{self.name}:{tag}` is that of `{one.name}`{where} and of `{other.name}`"
        self.diagnostics.append(Diagnostic(message=message, location=other.location, hint=hint))

    def _report_without_tag(self, stack: Stack) -> None:
        message = f"`{stack.name}` has no tag: newer stacks have each that it declares"
        if stack.deprecated:
            message = f"`{stack.name}` has no tag: it is deprecated, and each that it declares has `newest`"
        hint = "add a tag without `newest` that no other stack has"
        self.diagnostics.append(Diagnostic(message=message, location=stack.location, hint=hint))

    def _check_architectures(self, stack: Stack, tags: Iterable[str]) -> None:
        """Report a tag that is another stack's in the bake file, where each platform has one of its own."""
        platforms = stack.platforms if len(stack.platforms) > 1 else ()
        for name in (f"{tag}-{architecture(platform)}" for tag in tags for platform in platforms):
            if (owner := self.owners.get(name, stack)) is not stack:
                hint = "rename the tag: in the bake file, that of one of several platforms ends in its architecture"
                self._report(name, stack, owner, hint)


def _newest(claims: list[tuple[Stack, Claim]]) -> list[tuple[Stack, Claim]]:
    """Return who may have a tag: one stack, or several where that is not decided."""
    if any(claim.versions is None for _, claim in claims) or len({claim.schemes for _, claim in claims}) > 1:
        return claims
    final = [each for each in claims if not each[1].is_prerelease] or claims
    highest = max((claim.versions or () for _, claim in final))
    return [each for each in final if each[1].versions == highest]
