"""The layers of resolved stacks become nodes: units of work, one for all stacks that share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from buildsys.addresses import IN_HISTORY, NO_CREDENTIALS, credentials_in
from buildsys.config import template
from buildsys.config.model import OS, Catalog, Kind, ParameterType, Parent, Recipe, Stack
from buildsys.errors import Diagnostic, InvalidInput, Location
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.node import BuildGraph, Fetched, Node, NodedStack
from buildsys.resolve.node_names import BaseImage, base_image_words, node_name, node_title
from buildsys.resolve.stack import LayeredStack, Resolver


def resolve(catalog: Catalog) -> BuildGraph:
    """Return the nodes and stacks of a catalog; raises `InvalidInput` with every mistake of every stack."""
    diagnostics: list[Diagnostic] = []
    resolver = Resolver(catalog)
    builder = _Builder(resolver=resolver, diagnostics=diagnostics)
    stacks = []
    for stack in catalog.stacks:
        layered = resolver.resolve(stack, diagnostics)
        if layered and (noded := builder.stack(layered)):
            stacks.append(noded)
    if diagnostics:
        raise InvalidInput(diagnostics)
    return BuildGraph(nodes=MappingProxyType(_in_build_order(builder.nodes)), stacks=tuple(stacks))


def _in_build_order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the nodes sorted by their distance from the ground and by name: needs always come before."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = 1 + max((depth(each) for each in nodes[name].below), default=0)
        return depths[name]

    return {name: nodes[name] for name in sorted(nodes, key=lambda name: (depth(name), name))}


@dataclass(kw_only=True, slots=True)
class _Builder:
    resolver: Resolver
    diagnostics: list[Diagnostic]
    nodes: dict[str, Node] = field(default_factory=dict)
    _used: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    _toolchains: dict[tuple[object, ...], tuple[str, BaseImage]] = field(default_factory=dict)

    def stack(self, layered: LayeredStack) -> NodedStack | None:
        before = len(self.diagnostics)
        systems = [each for each in layered.instances if each.recipe.kind is Kind.SYSTEM]
        giver = next((each for each in systems if each.recipe.parent), None)
        parent = _filled_parent(giver) if giver else None
        if giver is None or parent is None:
            message = f"no layer of `{layered.stack.name}` gives a parent image"
            hint = "add a layer that provides `os`, such as `debian-os` or `ubuntu-os`"
            self.diagnostics.append(Diagnostic(message=message, location=layered.stack.location, hint=hint))
            return None
        base: str | None = None
        ground = _base_image_of_parent(giver, parent)
        for each in systems:
            if each.recipe.makes_node:
                base = self.system(layered, each, base, parent, ground)
                ground = self.ground(each) if each is layered.os else ground
        made: dict[str, str] = {}
        for each in layered.instances:
            if each.recipe.kind is Kind.ARTIFACT:
                made[each.name] = self.artifact(layered, each, made)
        if len(self.diagnostics) > before:
            return None
        return NodedStack(layered=layered, parent=parent, base=base, artifacts=tuple(made.items()))

    def system(
        self, layered: LayeredStack, each: LayerInstance, base: str | None, parent: Parent, ground: BaseImage
    ) -> str:
        installer = None
        if each.recipe.dockerfile is None:
            if layered.os is None or layered.os.recipe.dockerfile is None:
                message = f"nothing in `{layered.stack.name}` can install the packages of `{each.name}`"
                self.diagnostics.append(Diagnostic(message=message, location=each.location))
                return ""
            installer = layered.os.recipe
        own_parent = _filled_parent(each) == parent and base is None
        location = "" if own_parent else (f"on-{base}" if base else parent.name)
        ground = ground if location else BaseImage()
        return self.node(each, layered, base, None if base else parent, location, (), installer, ground)

    def artifact(self, layered: LayeredStack, each: LayerInstance, made: Mapping[str, str]) -> str:
        found = self.toolchain(layered, each)
        if found is None:
            return ""
        toolchain, ground = found
        wanted = dict.fromkeys([*each.recipe.requires, *each.recipe.after])
        needs = []
        for name in sorted(wanted):
            if name in each.recipe.references and name != OS:
                needs.append((name, made.get(name)))
        fixed, beside = each.recipe.toolchain.layer is not None, ""
        location = "" if fixed else toolchain.removeprefix("toolchain-")
        for node in sorted(node for _, node in needs if node):
            beside = f"{beside}-with-{node if fixed else node.removesuffix(f'-{location}')}"
        where = f"{location}{beside}".strip("-")
        return self.node(each, layered, toolchain, None, where, tuple(needs), None, BaseImage() if fixed else ground)

    def toolchain(self, layered: LayeredStack, each: LayerInstance) -> tuple[str, BaseImage] | None:
        use, parameters = each.recipe.toolchain, each.parameters
        if use.layer is None:
            if layered.os is None or layered.os.recipe.toolchain.layer is None:
                message = f"layer `{each.name}` is made on the system's toolchain, which nothing here names"
                hint = f"give `{layered.stack.name}` a layer that provides `os`"
                self.diagnostics.append(Diagnostic(message=message, location=each.location, hint=hint))
                return None
            use, parameters = layered.os.recipe.toolchain, layered.os.parameters
        assert use.layer is not None
        values = {name: template.fill(text, parameters) for name, text in use.parameters.items()}
        # Thousands of artifacts are made on a few toolchains, whatever stack they are in.
        known = (use.layer, *sorted(values.items()), layered.stack.platforms)
        if known in self._toolchains:
            return self._toolchains[known]
        before = len(self.diagnostics)
        alone = self.resolver.alone(use.layer, values, Location(file=each.recipe.file), self.diagnostics)
        parent = _filled_parent(alone)
        if parent is None:
            message = f"the toolchain `{use.layer}` gives no parent image"
            self.diagnostics.append(Diagnostic(message=message, location=Location(file=alone.recipe.file)))
        if len(self.diagnostics) > before:
            return None
        name = self.node(alone, layered, None, parent, "", (), None, BaseImage())
        if len(self.diagnostics) == before:
            self._toolchains[known] = name, self.ground(alone)
        return name, self.ground(alone)

    def ground(self, below: LayerInstance) -> BaseImage:
        """Return what a name says that ends in the name of a layer's node."""
        used = self.used(below.recipe, below.recipe)
        return BaseImage(words=base_image_words(below), shown={k: v for k, v in below.parameters.items() if k in used})

    def node(
        self,
        each: LayerInstance,
        layered: LayeredStack,
        base: str | None,
        parent: Parent | None,
        location: str,
        needs: tuple[tuple[str, str | None], ...],
        installer: Recipe | None,
        ground: BaseImage,
    ) -> str:
        recipe, build = each.recipe, installer or each.recipe
        used = self.used(recipe, build)
        packages = _packages(each)
        arguments = {
            parameter.argument: each.parameters[name]
            for name, parameter in recipe.parameters.items()
            if parameter.argument in build.declared and installer is None
        }
        if installer is None:
            arguments.update(_lines(each))
        if "PACKAGES" in build.declared:
            arguments["PACKAGES"] = " ".join(packages)
        if "PREFIX" in build.declared and recipe.prefix:
            arguments["PREFIX"] = recipe.prefix
        downloads = tuple(self.downloads(each))
        folders = tuple(
            (name, each.parameters[name])
            for name, parameter in sorted(recipe.parameters.items())
            if parameter.type is ParameterType.FOLDER and name in build.references
        )
        name = node_name(each, location, used, ground)
        assert build.dockerfile is not None
        found = Node(
            name=name,
            title=node_title(each, ground),
            recipe=recipe,
            parameters=MappingProxyType(
                {key: value for key, value in each.parameters.items() if key in used or key == "flavour"}
            ),
            base=base,
            parent=parent,
            needs=needs,
            folders=folders,
            arguments=tuple(sorted(arguments.items())),
            packages=packages,
            downloads=downloads,
            dockerfile=build.dockerfile,
            folder=build.folder,
            installer=installer,
            platforms=layered.stack.platforms,
        )
        self.keep(found, layered.stack)
        return name

    def keep(self, node: Node, stack: Stack) -> None:
        """Add a node, or widen the platforms of the one that is there; one name must be one work."""
        known = self.nodes.get(node.name)
        if known is None:
            self.nodes[node.name] = node
            return
        if node.platforms != known.platforms:
            platforms = tuple(sorted({*known.platforms, *node.platforms}))
            known, node = replace(known, platforms=platforms), replace(node, platforms=platforms)
            self.nodes[node.name] = known
        if replace(node, title=known.title) != known:
            message = f"two different units of work would be the bake target `{node.name}`, one in `{stack.name}`"
            hint = "mark the parameter in which they differ with `label: true`"
            self.diagnostics.append(Diagnostic(message=message, location=Location(file=node.recipe.file), hint=hint))

    def downloads(self, each: LayerInstance) -> Iterator[Fetched]:
        for name, variants in sorted(each.recipe.downloads.items()):
            chosen = next((one for one in variants if one.when.holds(each.parameters)), None)
            if chosen is None:
                shown = ", ".join(f"{key} {value}" for key, value in sorted(each.parameters.items()))
                message = f"layer `{each.name}` has no download `{name}` for {shown}"
                self.diagnostics.append(Diagnostic(message=message, location=each.location))
                continue
            url = template.fill(chosen.url, each.parameters)
            if any(credentials_in(url)):
                message = f"with these parameters the download `{name}` of layer `{each.name}` {IN_HISTORY}"
                self.diagnostics.append(Diagnostic(message=message, location=each.location, hint=NO_CREDENTIALS))
            yield Fetched(
                name=name,
                url=url,
                sha256=chosen.sha256,
                reason=chosen.reason,
                location=chosen.location,
            )

    def used(self, recipe: Recipe, build: Recipe) -> frozenset[str]:
        """Return which parameters have a say in what is built, and not only in the image's settings."""
        key = (recipe.layer, recipe.flavour)
        if key not in self._used:
            names = {n for n, p in recipe.parameters.items() if p.argument in build.declared}
            names |= {n for n in recipe.parameters if n in build.references}
            conditions = [each.when for each in recipe.packages] + [each.when for each in recipe.arguments]
            texts = [text for packages in recipe.packages for text in packages.names]
            texts += [text for each in recipe.arguments for lines in each.lines.values() for text in lines]
            for variants in recipe.downloads.values():
                conditions += [one.when for one in variants]
                texts += [one.url for one in variants]
            texts += list(recipe.toolchain.parameters.values())
            names |= {name for when in conditions for name, _ in when.values}
            names |= {name for text in texts for name in template.names(text)}
            if recipe.parent:
                names |= template.names(recipe.parent.name)
            self._used[key] = frozenset(names & recipe.parameters.keys())
        return self._used[key]


def _filled_parent(each: LayerInstance) -> Parent | None:
    parent = each.recipe.parent
    if parent is None:
        return None
    images = tuple(template.fill(image, each.parameters) for image in parent.images)
    return Parent(name=template.fill(parent.name, each.parameters), images=images)


def _base_image_of_parent(giver: LayerInstance, parent: Parent) -> BaseImage:
    """Return what the name of a parent image says of the layer that gives it."""
    text = giver.recipe.parent.name if giver.recipe.parent else ""
    shown = {key: value for key, value in giver.parameters.items() if f"{{{key}}}" in text}
    return BaseImage(words=parent.name.replace("-", " "), shown=shown)


def _lines(each: LayerInstance) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for arguments in each.recipe.arguments:
        for name, lines in arguments.lines.items():
            texts = lines if arguments.when.holds(each.parameters) else ()
            found.setdefault(name, []).extend(template.fill(text, each.parameters) for text in texts)
    return {name: "\n".join(lines) for name, lines in found.items()}


def _packages(each: LayerInstance) -> tuple[str, ...]:
    names = {
        template.fill(name, each.parameters)
        for packages in each.recipe.packages
        if packages.when.holds(each.parameters)
        for name in packages.names
    }
    return tuple(sorted(names))
