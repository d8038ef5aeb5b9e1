"""How the layers of all stacks become nodes, each shared by the stacks that need it, and images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from types import MappingProxyType

from buildsys.config.model import Catalog, LayerUse, Stack
from buildsys.errors import Diagnostic, Diagnostics, InvalidInput, Location
from buildsys.names import PLATFORM_ARGUMENTS, architecture, target_name
from buildsys.recipes import template
from buildsys.recipes.parameters import ParameterType
from buildsys.recipes.recipe import OS, Kind, Parent, Recipe, built_with
from buildsys.resolve.downloads import fetched_by
from buildsys.resolve.generated import commands_dockerfile, files_dockerfile
from buildsys.resolve.image import config_of, merge
from buildsys.resolve.instance import LayerInstance
from buildsys.resolve.node import (
    NO_BASE_IMAGE,
    BaseImage,
    BuildGraph,
    ImageTarget,
    Node,
    base_image_words,
    node_name,
    node_title,
    without_architecture,
)
from buildsys.resolve.stack import Resolver
from buildsys.resolve.support import support_of
from buildsys.values import dataclass


def resolve(catalog: Catalog) -> BuildGraph:
    """Return the nodes and images of a catalog, each for one platform.

    Raises `InvalidInput` with every diagnostic of every stack.
    """
    diagnostics = Diagnostics()
    resolver = Resolver(catalog)
    builder = _Builder(resolver=resolver, diagnostics=diagnostics)
    images = []
    found: dict[str, list[Diagnostic]] = {}
    for stack in catalog.stacks:
        before = len(diagnostics)
        parts = [stack.on(platform) for platform in stack.platforms]
        for part in parts:
            layers = resolver.layers(part, diagnostics)
            if layers and (image := builder.image(part, layers, is_part=len(parts) > 1)):
                images.append(image)
        # Most of what is wrong is wrong on each platform.
        found[stack.name] = list(dict.fromkeys(diagnostics[before:]))
    unmet = tuple(resolver.unmet_choices())
    if diagnostics or unmet:
        raise InvalidInput((*unmet, *_of_their_own(catalog.stacks, found)))
    return BuildGraph(nodes=MappingProxyType(_in_build_order(builder.nodes)), images=tuple(images))


def _of_their_own(stacks: tuple[Stack, ...], found: Mapping[str, list[Diagnostic]]) -> Iterator[Diagnostic]:
    """Yield the diagnostics of stacks without those that a stack has from the one that it extends."""
    for stack in stacks:
        inherited = found.get(stack.base or "", [])
        locations = {each.location for each in inherited} | ({stack.location} if inherited else set())
        yield from (each for each in found[stack.name] if each.location not in locations)


def _in_build_order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the nodes sorted by their depth and by name: needs always come before."""
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
    _used: dict[tuple[str, ...], frozenset[str]] = field(default_factory=dict)
    _conflicts: set[tuple[str, ...]] = field(default_factory=set)
    _toolchains: dict[tuple[object, ...], tuple[str, BaseImage]] = field(default_factory=dict)

    def image(self, stack: Stack, layers: tuple[LayerInstance, ...], *, is_part: bool) -> ImageTarget | None:
        """Add the nodes of a stack of one platform, and return its image; `is_part` of one of several platforms."""
        before = len(self.diagnostics)
        systems = [each for each in layers if each.recipe.kind is Kind.SYSTEM]
        giver = next((each for each in systems if each.recipe.parent), None)
        parent = _filled_parent(giver) if giver else None
        if giver is None or parent is None:
            hint = "add a layer that provides `os`, and has a `parent`"
            self.report(f"no layer of `{stack.name}` declares a parent image", stack.location, hint)
            return None
        os = self.resolver.provider(OS, layers)
        base: str | None = None
        base_image = _base_image_of_parent(giver, parent)
        for each in systems:
            if each.recipe.makes_node:
                base = self.system(stack, each, base, os=os, parent=parent, base_image=base_image)
                base_image = self.base_image(each) if each is os else base_image
        artifacts: dict[str, str] = {}
        for each in layers:
            if each.recipe.kind is Kind.ARTIFACT:
                artifacts[each.name] = self.artifact(stack, each, os, artifacts)
        # As people write a stack: the later line wins, whatever must be built first.
        listed = sorted(layers, key=lambda each: each.position)
        environment, conflicts = merge(
            ((each.name, each.recipe.environment, each.parameters) for each in listed),
            own={each.name for each in listed if each.is_own},
        )
        for conflict in conflicts:
            # The stacks of a family have the same layers.
            key = (stack.family or stack.name, conflict.variable, conflict.first[0], conflict.second[0])
            if key in self._conflicts:
                continue
            self._conflicts.add(key)
            self.report(
                f"`{stack.name}`: the layers `{conflict.first[0]}` and `{conflict.second[0]}` set"
                f" `{conflict.variable}` to `{conflict.first[1]}` and `{conflict.second[1]}`",
                stack.location,
                f"remove `{conflict.variable}` from one of them, or give it the same value",
            )
        config, problems = config_of(listed)
        for problem in problems:
            self.report(f"`{stack.name}`: {problem}", stack.location, "remove the label from one of them")
        if len(self.diagnostics) > before or conflicts:
            return None
        accelerated = any(each.recipe.accelerator for each in layers)
        implied = {"gpu" if accelerated else "cpu", *([stack.family] if stack.family else [])}
        platform = stack.platforms[0]
        return ImageTarget(
            name=target_name(f"{stack.name}-{architecture(platform)}" if is_part else stack.name),
            stack=stack.name,
            description=stack.description,
            family=stack.family,
            groups=tuple(sorted({*stack.groups, *implied})),
            platform=platform,
            is_part=is_part,
            deprecated=stack.deprecated,
            location=stack.location,
            layers=layers,
            parent=parent,
            base=base,
            artifacts=tuple(artifacts.items()),
            environment=environment,
            config=config,
            repository=stack.repository,
            tags=stack.tags,
            support=support_of(stack, layers),
            budget=stack.budget,
        )

    def report(self, message: str, location: Location, hint: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

    def system(
        self,
        stack: Stack,
        each: LayerInstance,
        base: str | None,
        *,
        os: LayerInstance | None,
        parent: Parent,
        base_image: BaseImage,
    ) -> str:
        installer = None
        if each.recipe.dockerfile is None and (each.recipe.packages or not each.recipe.run):
            if os is None or os.recipe.dockerfile is None or "PACKAGES" not in os.recipe.declared:
                message = f"no layer of `{stack.name}` can install the packages of `{each.name}`"
                hint = "add a Dockerfile with `ARG PACKAGES` to the layer that provides `os`, or to this one"
                self.report(message, each.location, hint)
                return ""
            installer = os.recipe
            for argument in sorted((each.recipe.declared & installer.declared) - PLATFORM_ARGUMENTS):
                message = f"`run` of `{each.name}` names the argument `{argument}`, which is one of `{os.name}` too"
                self.report(message, each.recipe.place("run"), "rename the parameter")
        own_parent = _filled_parent(each) == parent and base is None
        below = without_architecture(base, stack.platforms[0]) if base else ""
        location = "" if own_parent else (f"on-{below}" if base else parent.name)
        return self.node(
            stack,
            each,
            base,
            parent=None if base else parent,
            location=location,
            installer=installer,
            base_image=base_image if location else NO_BASE_IMAGE,
        )

    def artifact(
        self, stack: Stack, each: LayerInstance, os: LayerInstance | None, artifacts: Mapping[str, str]
    ) -> str:
        if each.recipe.files:
            return self.node(stack, each, None)
        found = self.toolchain(stack, each, os)
        if found is None:
            return ""
        toolchain, base_image = found
        names = sorted({*each.recipe.requires, *each.recipe.after})
        needs = tuple((name, artifacts.get(name)) for name in names if name in each.recipe.references and name != OS)
        fixed, beside = each.recipe.toolchain is not None, ""
        location = "" if fixed else without_architecture(toolchain, stack.platforms[0]).removeprefix("toolchain-")
        for node in sorted(without_architecture(node, stack.platforms[0]) for _, node in needs if node):
            beside = f"{beside}-with-{node if fixed else node.removesuffix(f'-{location}')}"
        return self.node(
            stack,
            each,
            toolchain,
            location=f"{location}{beside}".strip("-"),
            needs=needs,
            base_image=NO_BASE_IMAGE if fixed else base_image,
        )

    def toolchain(self, stack: Stack, each: LayerInstance, os: LayerInstance | None) -> tuple[str, BaseImage] | None:
        use, parameters = each.recipe.toolchain, each.parameters
        if use is None:
            if os is None or os.recipe.toolchain is None:
                if os is None:
                    message = f"layer `{each.name}` needs the toolchain of a system, and `{stack.name}` has none"
                    self.report(message, each.location, "add a layer that provides `os`, or `toolchain` to the layer")
                else:
                    message = f"layer `{os.name}` provides `os`, and has no `toolchain` for artifacts"
                    hint = "add `toolchain: {layer: …}`, a layer of kind `toolchain`"
                    self.report(message, os.recipe.place("kind"), hint)
                return None
            use, parameters = os.recipe.toolchain, os.parameters
        values = {name: template.fill(text, parameters) for name, text in use.parameters.items()}
        # Thousands of artifacts are built on a few toolchains, whatever stack they are in.
        known = (use.layer, *sorted(values.items()), stack.platforms)
        if known in self._toolchains:
            return self._toolchains[known]
        before = len(self.diagnostics)
        giver = each if each.recipe.toolchain is not None or os is None else os
        alone = self.resolver.alone(
            _toolchain_use(stack, giver, values, use.parameters), stack.platforms[0], self.diagnostics
        )
        parent = _filled_parent(alone)
        if parent is None:
            hint = "add `parent`, with a `name` and the `images` that it may come from"
            self.report(f"the toolchain `{use.layer}` has no parent image", alone.recipe.place("kind"), hint)
        if len(self.diagnostics) > before:
            return None
        found = self.node(stack, alone, None, parent=parent), self.base_image(alone)
        if len(self.diagnostics) == before:
            self._toolchains[known] = found
        return found

    def base_image(self, below: LayerInstance) -> BaseImage:
        """Return what a name says that ends in the name of a layer's node."""
        used = self.used(below.recipe, below.recipe)
        return BaseImage(words=base_image_words(below), shown={k: v for k, v in below.parameters.items() if k in used})

    def node(
        self,
        stack: Stack,
        each: LayerInstance,
        base: str | None,
        *,
        parent: Parent | None = None,
        location: str = "",
        needs: tuple[tuple[str, str | None], ...] = (),
        installer: Recipe | None = None,
        base_image: BaseImage = NO_BASE_IMAGE,
    ) -> str:
        """Add the node of a layer, and return its name."""
        recipe, build = each.recipe, installer or each.recipe
        used = self.used(recipe, build)
        packages = _packages(each)
        folders = tuple(
            (name, each.parameters[name])
            for name, parameter in sorted(recipe.parameters.items())
            if parameter.type is ParameterType.FOLDER and name in build.references
        )
        platform = stack.platforms[0]
        name = node_name(each, location, used, base_image, platform)
        found = Node(
            name=name,
            title=node_title(each, base_image, platform),
            recipe=recipe,
            parameters=MappingProxyType(
                {key: value for key, value in each.parameters.items() if key in used or key == "flavour"}
            ),
            base=base,
            parent=parent,
            needs=needs,
            folders=folders,
            arguments=_arguments(each, build, packages),
            packages=packages,
            downloads=tuple(fetched_by(each, stack, self.report)),
            dockerfile=build.dockerfile or build.file,
            folder=build.folder,
            installer=installer,
            generated=_generated(each, installer),
            platform=platform,
        )
        self.keep(found, stack)
        return name

    def keep(self, node: Node, stack: Stack) -> None:
        """Add a node; one name must mean one unit of work."""
        known = self.nodes.setdefault(node.name, node)
        if node != known and replace(node, title=known.title) != known:
            message = f"two different units of work would be the bake target `{node.name}`, one in `{stack.name}`"
            hint = "mark the parameter in which they differ with `label: true`"
            self.report(message, Location(file=node.recipe.file), hint)

    def used(self, recipe: Recipe, build: Recipe) -> frozenset[str]:
        """Return the parameters that affect what is built, and not only the image's settings."""
        key = (recipe.layer, recipe.flavour, build.layer, build.flavour)
        if key not in self._used:
            self._used[key] = built_with(recipe, build.declared | recipe.declared, build.references)
        return self._used[key]


def _generated(each: LayerInstance, installer: Recipe | None) -> str:
    if each.recipe.files:
        return files_dockerfile(each.recipe.files.values(), each.parameters)
    return commands_dockerfile(each.recipe, installer) if each.recipe.run else ""


def _toolchain_use(
    stack: Stack, giver: LayerInstance, values: Mapping[str, str], templates: Mapping[str, str]
) -> LayerUse:
    """Return a toolchain as one layer names it, each value where the stack sets the parameter that it is."""
    location, locations = giver.recipe.place("toolchain"), {}
    set_at = next((use.locations for use in stack.layers if use.layer == giver.name), {})
    for name, text in templates.items():
        used = template.names(text) & set_at.keys()
        locations[name] = set_at[next(iter(used))] if len(used) == 1 else location
    assert giver.recipe.toolchain is not None
    return LayerUse(layer=giver.recipe.toolchain.layer, parameters=values, location=location, locations=locations)


def _filled_parent(each: LayerInstance) -> Parent | None:
    parent = each.recipe.parent
    if parent is None:
        return None
    images = tuple(template.fill(image, each.parameters) for image in parent.images)
    return replace(parent, name=template.fill(parent.name, each.parameters), images=images)


def _base_image_of_parent(giver: LayerInstance, parent: Parent) -> BaseImage:
    """Return what the name of a parent image says about the layer that gives it."""
    text = giver.recipe.parent.name if giver.recipe.parent else ""
    shown = {key: value for key, value in giver.parameters.items() if f"{{{key}}}" in text}
    return BaseImage(words=parent.name.replace("-", " "), shown=shown)


def _arguments(each: LayerInstance, build: Recipe, packages: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the build arguments of a layer, sorted; an installer's Dockerfile knows nothing of its parameters."""
    recipe = each.recipe
    declared = ((name, parameter.argument) for name, parameter in recipe.parameters.items())
    found = {argument: each.parameters[name] for name, argument in declared if argument in recipe.declared}
    found |= {name: text for name, text in _lines(each).items() if build is recipe or name in recipe.declared}
    if "PACKAGES" in build.declared:
        found["PACKAGES"] = " ".join(packages)
    if "PREFIX" in build.declared and recipe.prefix:
        found["PREFIX"] = " ".join(recipe.prefix)
    return tuple(sorted(found.items()))


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
