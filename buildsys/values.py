"""How classes of values are defined: as dataclasses, in a fifth of the time that the standard library needs for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    # The type checker holds every class to what the standard library promises; that values are frozen is part of it.
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool = False, kw_only: bool = False, slots: bool) -> Callable[[type[T]], type[T]]:
        """Do what `dataclasses.dataclass` does, except that a frozen class refuses nothing at run time.

        The standard library compiles six functions for each frozen class, which takes a tenth of a second for those of
        `buildsys bake`. Here only `__init__` is compiled (docs/decisions/0016).
        """

        def define(kind: type[T]) -> type[T]:
            own = {*vars(kind)}
            kind = dataclasses.dataclass(kind, kw_only=kw_only, slots=slots, eq=False, repr=False)
            for name, method in _methods(kind, frozen=frozen).items():
                if name not in own:
                    setattr(kind, name, method)
            return kind

        return define


def _methods(kind: type[Any], *, frozen: bool) -> dict[str, Callable[..., Any] | None]:
    """Return the methods of a dataclass that compare and print it; only a frozen one has a hash."""
    fields = dataclasses.fields(kind)
    compared = [each.name for each in fields if each.compare]
    printed = [each.name for each in fields if each.repr]
    values: Callable[[Any], Any] = attrgetter(*compared) if compared else lambda _: ()

    def equal(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    def text(self: Any) -> str:
        return f"{kind.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in printed)})"

    return {"__eq__": equal, "__hash__": hashed if frozen else None, "__repr__": text}
