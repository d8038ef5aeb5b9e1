"""Which layers a stack has, in which order, with which parameters, and whether they fit each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from buildsys import texts
from buildsys.config.model import Catalog, Choice, LayerUse, Stack
from buildsys.errors import Diagnostic, Location, did_you_mean, nearest, which_one
from buildsys.names import shared_path
from buildsys.recipes import template, versions
from buildsys.recipes.recipe import Check, Kind, Recipe
from buildsys.resolve.graph import Cycle, ordered
from buildsys.resolve.instance import LayerInstance, RequestedLayer, Values, unknown, value_diagnostics, without_value
from buildsys.resolve.own import own_layers

_RANK = {Kind.SYSTEM: 0, Kind.TOOLCHAIN: 1, Kind.ARTIFACT: 2}


class Resolver:
    """Resolves the stacks of one catalog; equal lists of layers are ordered once."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._orders: dict[tuple[tuple[str, str], ...], tuple[str, ...]] = {}
        self._valid: set[tuple[object, ...]] = set()
        self._reported: set[tuple[str, str]] = set()
        self._choices: dict[tuple[Location, str], tuple[Choice, set[str]]] = {}
        self._providers: dict[str, list[str]] = {}
        for name, layer in sorted(catalog.layers.items()):
            for provided in layer.provides:
                self._providers.setdefault(provided, []).append(name)

    def layers(self, stack: Stack, diagnostics: list[Diagnostic]) -> tuple[LayerInstance, ...]:
        """Return the layers of a stack in build order, or none after adding every diagnostic."""
        before = len(diagnostics)
        requested = self._closure(stack, diagnostics)
        if stack.flavour:
            self._note(stack.flavour, requested, is_complete=len(diagnostics) == before)
        if len(diagnostics) > before:
            return ()
        instances = self._instances(requested, stack.flavour, diagnostics)
        if len(diagnostics) > before:
            return ()
        names = self._order(instances, diagnostics)
        if len(diagnostics) > before:
            return ()
        found = tuple(instances[name] for name in names)
        diagnostics.extend(self._conflicts(stack, found))
        own = own_layers(stack, len(found))
        diagnostics.extend(self._shared_paths(stack, (*found, *own)))
        diagnostics.extend(_platforms(stack, found, self._reported))
        diagnostics.extend(_checks(stack, found))
        for each in (*found, *own):
            # Thousands of stacks share few layers with the same parameters.
            key = (each.name, *each.parameters.items())
            if key not in self._valid:
                problems = (*_text_diagnostics(stack.name, each), *_package_versions(stack.name, each))
                diagnostics.extend(problems)
                self._valid |= set() if problems else {key}
        return (*found, *own) if len(diagnostics) == before else ()

    def provider(self, name: str, layers: Iterable[LayerInstance]) -> LayerInstance | None:
        """Return the first of some layers that provides a name."""
        return next((each for each in layers if each.name in self._providers.get(name, ())), None)

    def _note(self, choice: Choice, requested: Iterable[str], *, is_complete: bool) -> None:
        """Note which flavours the layers of a stack have: some stack with a choice needs a layer that has it."""
        known = {each for name in requested for each in self._catalog.layers[name].recipes if each}
        known |= set() if is_complete else {choice.name}
        self._choices.setdefault((choice.field, choice.name), (choice, set()))[1].update(known)

    def unmet_choices(self) -> Iterator[Diagnostic]:
        """Yield a diagnostic for each flavour that stacks choose and none of their layers has."""
        for choice, known in self._choices.values():
            if choice.name not in known:
                message = f"no layer that follows this choice has the flavour `{choice.name}`"
                hint = which_one(choice.name, sorted(known), "remove `flavour`: the layers have no flavours")
                yield Diagnostic(message=message, location=choice.location, hint=hint)

    def alone(self, use: LayerUse, diagnostics: list[Diagnostic]) -> LayerInstance:
        """Return a layer outside of any stack, as a toolchain is; a parameter that it does not declare is an error."""
        layer, parameters, location, locations = use.layer, use.parameters, use.location, use.locations
        before = len(diagnostics)
        recipe = self._recipe(use, diagnostics) or next(iter(self._catalog.layers[layer].recipes.values()))
        values, origins = {"flavour": recipe.flavour} if recipe.flavour else {}, dict[str, str]()
        diagnostics.extend(unknown(recipe, use))
        for name, parameter in recipe.parameters.items():
            value, origin = parameters.get(name, parameter.default), "toolchain"
            if value is None:
                diagnostics.append(without_value(recipe, name, use))
            else:
                values[name], origins[name] = value, origin
                diagnostics.extend(value_diagnostics(recipe, name, value, locations.get(name, location)))
        found = LayerInstance(
            recipe=recipe,
            parameters=MappingProxyType(values),
            origins=MappingProxyType(origins),
            why="the toolchain of an artifact",
            location=location,
        )
        if len(diagnostics) == before:
            diagnostics.extend(_text_diagnostics(layer, found))
        return found

    def present(self, name: str, names: Iterable[str]) -> list[str]:
        """Return the layers that a name refers to, by their own name or by what they provide."""
        meant = self._providers.get(name, [name])
        return [each for each in names if each in meant]

    def _closure(self, stack: Stack, diagnostics: list[Diagnostic]) -> dict[str, RequestedLayer]:
        """Return the layers that a stack lists, in its order, each layer that only others require before the first."""
        requested: dict[str, RequestedLayer] = {}
        listed: set[str] = set()
        waiting: deque[tuple[LayerUse, str]] = deque()
        open_choices: list[tuple[LayerUse, str, list[str]]] = []
        for use in stack.layers:
            if use.layer in listed:
                message = f"stack `{stack.name}` lists layer `{use.layer}` twice"
                diagnostics.append(Diagnostic(message=message, location=use.location, hint=f"remove `{use.layer}`"))
                continue
            listed.add(use.layer)
            waiting.append((use, "named by the stack"))
        names = [use.layer for use, _ in waiting]
        while waiting:
            use, why = waiting.popleft()
            recipe = self._recipe(use, diagnostics, stack.flavour)
            if recipe is None:
                continue
            requested[use.layer] = RequestedLayer(recipe=recipe, use=use, why=why)
            added: list[tuple[LayerUse, str]] = []
            for name in recipe.requires:
                choices = self._providers.get(name, [name])
                if not listed.isdisjoint(choices):
                    continue
                if len(choices) > 1:
                    open_choices.append((use, name, choices))
                    continue
                required = LayerUse(layer=choices[0], parameters=MappingProxyType({}), location=use.location)
                listed.add(required.layer)
                added.append((required, f"required by `{use.layer}`"))
            # What it requires is looked at before the next layer of the list, which may require the same.
            waiting.extendleft(reversed(added))
            place = names.index(use.layer)
            names[place:place] = [each.layer for each, _ in added]
        # Only now: a layer that was required later may be one of the choices.
        for use, name, choices in open_choices:
            if listed.isdisjoint(choices):
                message = f"layer `{use.layer}` requires `{name}`, which `{stack.name}` does not have"
                hint = f"add one of {', '.join(f'`{each}`' for each in choices)}"
                diagnostics.append(Diagnostic(message=message, location=use.location, hint=hint))
        return {name: requested[name] for name in names if name in requested}

    def _recipe(self, use: LayerUse, diagnostics: list[Diagnostic], choice: Choice | None = None) -> Recipe | None:
        layer = self._catalog.layers[use.layer]
        default = choice.name if choice and choice.name in layer.recipes else layer.default_flavour
        flavour = use.parameters.get("flavour", default)
        if found := layer.recipes.get(flavour):
            return found
        location = use.locations.get("flavour", use.location)
        if not layer.default_flavour:
            message = f"layer `{use.layer}` has no flavours"
            hint: str | None = "remove `flavour`"
            location = use.keys.get("flavour", use.location)
        else:
            message = f"`{flavour}` is not a flavour of `{use.layer}`"
            hint = which_one(flavour, layer.recipes)
        diagnostics.append(Diagnostic(message=message, location=location, hint=hint))
        return None

    def _instances(
        self, requested: Mapping[str, RequestedLayer], choice: Choice | None, diagnostics: list[Diagnostic]
    ) -> dict[str, LayerInstance]:
        values = Values(requested, self.present, diagnostics)
        found = {}
        for position, (name, one) in enumerate(requested.items()):
            diagnostics.extend(unknown(one.recipe, one.use))
            parameters, origins = {}, {}
            if one.recipe.flavour:
                parameters["flavour"] = one.recipe.flavour
                if choice and choice.name == one.recipe.flavour and "flavour" not in one.use.parameters:
                    origins["flavour"] = "the stack's flavour"
            for parameter in one.recipe.parameters:
                known = values.value(name, parameter)
                if known is not None:
                    parameters[parameter], origins[parameter] = known
            found[name] = LayerInstance(
                recipe=one.recipe,
                parameters=MappingProxyType(parameters),
                origins=MappingProxyType(origins),
                why=one.why,
                location=one.use.location,
                position=position,
            )
        return found

    def _order(self, instances: Mapping[str, LayerInstance], diagnostics: list[Diagnostic]) -> tuple[str, ...]:
        shape = tuple((name, each.recipe.flavour) for name, each in instances.items())
        if known := self._orders.get(shape):
            return known
        needs: dict[str, list[str]] = {}
        for name, each in instances.items():
            edges = [n for edge in each.recipe.requires for n in self.present(edge, instances)]
            edges += [n for edge in each.recipe.after for n in self.present(edge, instances)]
            needs[name] = [need for need in edges if need != name]
            for need in needs[name]:
                if each.recipe.kind is Kind.SYSTEM and instances[need].recipe.kind is Kind.ARTIFACT:
                    message = f"the system layer `{name}` cannot be built on the artifact `{need}`"
                    location = _mention(each.recipe, need)
                    hint = f"remove `{need}`, or write `kind: artifact` in `{name}`"
                    diagnostics.append(Diagnostic(message=message, location=location, hint=hint))

        def rank(name: str) -> tuple[int, int, int]:
            recipe = instances[name].recipe
            return _RANK[recipe.kind], recipe.order, instances[name].position

        try:
            found = ordered(needs, rank)
        except Cycle as cycle:
            message = f"layers need each other: {cycle}"
            name, need = cycle.loop[:2]
            location = _mention(instances[name].recipe, need)
            diagnostics.append(Diagnostic(message=message, location=location, hint=f"remove `{need}` from `{name}`"))
            return ()
        self._orders[shape] = found
        return found

    def _shared_paths(self, stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
        """Yield a diagnostic for each pair of artifacts that share a path, or nest, without depending on each other.

        An artifact that depends on another has it as a context, and may add to it; else both are built independently,
        and the one that is joined last hides files of the other.
        """
        artifacts = [each for each in instances if each.recipe.prefix]
        for later, earlier in ((b, a) for index, b in enumerate(artifacts) for a in artifacts[:index]):
            path = shared_path(earlier.recipe.prefix, later.recipe.prefix)
            if path is None:
                continue
            edges = (*later.recipe.requires, *later.recipe.after)
            if not any(earlier.name in self.present(edge, [earlier.name]) for edge in edges):
                message = f"the layers `{earlier.name}` and `{later.name}` of `{stack.name}` both own `{path}`"
                hint = f"if `{later.name}` adds to `{earlier.name}`, list that in its `requires` or `after`"
                hint = f"choose a path that `{earlier.name}` does not own" if later.is_own else hint
                yield Diagnostic(message=message, location=later.location, hint=hint)

    def _conflicts(self, stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
        names = [each.name for each in instances]
        for each in instances:
            for conflict in each.recipe.conflicts:
                for other in self.present(conflict, names):
                    if other != each.name:
                        message = f"the layers `{each.name}` and `{other}` cannot both be in `{stack.name}`"
                        hint = f"remove one of them: `{each.name}` names `{conflict}` under `conflicts`"
                        yield Diagnostic(message=message, location=each.location, hint=hint)
        providers: dict[str, list[str]] = {}
        for name in names:
            for provided in self._catalog.layers[name].provides:
                providers.setdefault(provided, []).append(name)
        for provided, several in sorted(providers.items()):
            if len(several) > 1:
                listed = " and ".join(f"`{name}`" for name in several)
                location = next(each.location for each in instances if each.name == several[-1])
                message = f"{listed} of `{stack.name}` both provide `{provided}`"
                yield Diagnostic(message=message, location=location, hint=f"remove `{several[-1]}`, or the other one")


def _text_diagnostics(where: str, each: LayerInstance) -> Iterator[Diagnostic]:
    """Yield diagnostics for the texts of a layer with parameters filled in: a value may hold anything."""
    for what, written, rule in _texts(each):
        found = template.fill(written, each.parameters)
        if expected := rule(found):
            message = f"`{where}`: the {what} has more than one line"
            hint = "give the parameters of the layer values that fit there"
            if "\n" not in found:
                message = (
                    f"`{where}`: the {what} of `{each.name}` becomes `{texts.excerpt(found)}`, expected {expected}"
                )
            yield Diagnostic(message=message, location=each.location, hint=hint)


def _package_versions(where: str, each: LayerInstance) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each package that a layer wants in two versions, or with a version and without."""
    versions: dict[str, set[str]] = {}
    places: dict[str, Location] = {}
    for packages in each.recipe.packages:
        for text in packages.names if packages.when.holds(each.parameters) else ():
            for word in template.fill(text, each.parameters).split():
                name, _, version = word.partition("=")
                versions.setdefault(name, set()).add(version)
                places[name] = packages.location
    for name, found in sorted(versions.items()):
        if len(found) > 1:
            listed = " and ".join(f"`{name}={version}`" if version else f"`{name}`" for version in sorted(found))
            message = f"`{where}`: layer `{each.name}` installs {listed}"
            yield Diagnostic(message=message, location=places[name], hint="keep one of them")


def _texts(each: LayerInstance) -> Iterator[tuple[str, str, texts.Rule]]:
    """Yield each template that reaches an instruction, a name or a shell, with its rule."""
    recipe = each.recipe
    yield from ((f"variable `{name}`", value, rule) for name, value, rule in _variables(each))
    yield from _words(recipe)
    for key, value in recipe.labels.items():
        yield f"label `{key}`", value, texts.one_line
    for what, text, rule in (("`user`", recipe.user, texts.user), ("`workdir`", recipe.workdir, texts.workdir)):
        # An empty one has no effect.
        if text and template.fill(text, each.parameters):
            yield what, text, rule
    yield from ((f"owner of `{path}`", file.owner, texts.owner) for path, file in recipe.files.items())
    for packages in recipe.packages:
        if packages.when.holds(each.parameters):
            yield from (("package", name, texts.packages) for name in packages.names)
    for downloads in recipe.downloads.values():
        yield from (("`url`", one.url, texts.address) for one in downloads if one.when.holds(each.parameters))
    for check in recipe.checks:
        if check.when.holds(each.parameters):
            yield from ((f"constraint on `{name}`", text, versions.expected) for name, text in check.needs.items())
    if recipe.parent:
        yield "parent's name", recipe.parent.name, texts.parent
        yield from (("image", image, texts.image) for image in recipe.parent.images)


def _words(recipe: Recipe) -> Iterator[tuple[str, str, texts.Rule]]:
    """Yield each template that may become any text, but for the name of a program: what it is, and its rule."""
    healthcheck = recipe.healthcheck.command if recipe.healthcheck else ()
    words = (("entry point", recipe.entrypoint), ("command", recipe.command), ("healthcheck", healthcheck))
    yield from ((what, text, texts.composed) for what, several in words for text in several or ())
    yield from ((what, text, texts.program) for what, several in (words[0], words[2]) for text in (several or ())[:1])
    for arguments in recipe.arguments:
        for name, lines in arguments.lines.items():
            yield from ((f"lines of `{name}`", text, texts.composed) for text in lines)


def _variables(each: LayerInstance) -> Iterator[tuple[str, str, texts.Rule]]:
    """Yield each variable of the environment, a template of its value or of a part of it, and the rule for that."""
    for environment in each.recipe.environment:
        if environment.when.holds(each.parameters):
            yield from ((name, value, texts.one_line) for name, value in environment.set.items())
            for name, parts in [*environment.prepend.items(), *environment.append.items()]:
                yield from ((name, part, texts.part) for part in parts)


def _platforms(
    stack: Stack, instances: tuple[LayerInstance, ...], reported: set[tuple[str, str]]
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each platform that layers do not have, once for all stacks of a family."""
    for platform in stack.platforms:
        without = [each for each in instances if platform not in each.recipe.platforms]
        key = (stack.family or stack.name, platform)
        if not without or key in reported:
            continue
        reported.add(key)
        names = ", ".join(f"`{each.name}`" for each in without)
        known = list(dict.fromkeys(other for each in without for other in each.recipe.platforms))
        hint = which_one(platform, known)
        location = stack.platform_locations.get(platform, without[0].location)
        # Where a stack names none, the layer is what differs from the rest.
        if len(without) < len(instances):
            otherwise = f"add `{platform}` to the `platforms` of {names}, or remove it from the stack"
            near = next((each for each in known if nearest(each, [platform])), known[0])
            hint = did_you_mean(near, [platform], otherwise)
            location = without[0].recipe.place("platforms", near)
        words = "the layer" if len(without) == 1 else "the layers"
        verb = "is" if len(without) == 1 else "are"
        who = f"the family `{stack.family}`" if stack.family else f"`{stack.name}`"
        message = f"{who} is for `{platform}`, but {words} {names} {verb} not"
        yield Diagnostic(message=message, location=location, hint=hint)


def _checks(stack: Stack, instances: tuple[LayerInstance, ...]) -> Iterator[Diagnostic]:
    by_name = {each.name: each for each in instances}
    for each in instances:
        for check in each.recipe.checks:
            for need, specifier in check.needs.items() if check.when.holds(each.parameters) else ():
                layer, _, parameter = need.partition(".")
                if layer not in by_name or parameter not in by_name[layer].parameters:
                    continue
                value, declared = by_name[layer].parameters[parameter], by_name[layer].recipe.parameters.get(parameter)
                scheme = (declared and declared.versions) or versions.Scheme.PEP440
                required = template.fill(specifier, each.parameters)
                if not versions.satisfies(value, required, scheme):
                    needed = f"needs `{layer}` {parameter} {required}, `{stack.name}` has {value}"
                    yield _check_diagnostic(stack, each, check, needed)


def _check_diagnostic(stack: Stack, each: LayerInstance, check: Check, needed: str) -> Diagnostic:
    which = f"`{each.name}` {each.parameters.get('version', '')}".rstrip()
    message = f"layer {which} {needed}"
    locations = next((use.locations for use in stack.layers if use.layer == each.name), {})
    location = next((locations[name] for name in ("version", *locations) if name in locations), each.location)
    hint = f"choose versions that fit: {check.message}" if check.message else "set a version of either that fits"
    return Diagnostic(message=message, location=location, hint=hint)


def _mention(recipe: Recipe, need: str) -> Location:
    """Return where a layer names one that it needs."""
    fields = [name for name, item in recipe.places if item == need]
    return recipe.place(fields[0], need) if fields else recipe.place("requires")
