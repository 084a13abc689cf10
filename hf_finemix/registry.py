"""Names of attacks and defences, those of third parties included, and objects made from settings."""

import re
from dataclasses import fields
from typing import Any, Generic, TypeVar

from .errors import InputError, nearest


_T = TypeVar("_T")
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


class Registry(Generic[_T]):
    """
    Dataclasses by name.

    Args:
        kind (`str`): What they are, for messages: `"attack"` or `"defense"`.
        base (`type`): The class that each of them derives from.
    """

    def __init__(self, kind: str, base: type[_T]):
        self.kind, self.base = kind, base
        self._classes: dict[str, type[_T]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they were registered."""
        return tuple(self._classes)

    def register(self, cls: type[_T]) -> type[_T]:
        """
        Adds a class under its attribute `name`; fit for use as a decorator.

        Raises:
            InputError: If it does not derive from the base class, or its name is no identifier or already taken.
        """
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise InputError(f"{cls!r} cannot be registered: a {self.kind} is a subclass of {self.base.__name__}.")
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"{cls.__name__} has the `name` {name!r}, but must have one of lower-case letters, digits and `_`."
            )
        # The same class again is what happens when a module is imported by a worker process, or reloaded.
        known = self._classes.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(f"`name` {name!r} is taken by the {self.kind} {known.__name__}; choose another.")
        self._classes[name] = cls
        return cls

    def make(self, settings: dict[str, Any]) -> _T:
        """
        Makes an object from its `name` and the fields of its class.

        Raises:
            InputError: If the name or a field is unknown, or a value is out of range.
        """
        settings = dict(settings)
        if "name" not in settings:
            raise InputError(f"The {self.kind} {settings!r} has no `name`; known ones are {', '.join(self._classes)}.")
        name = settings.pop("name")
        if not isinstance(name, str) or name not in self._classes:
            raise InputError(f"Unknown {self.kind} {name!r}{nearest(name, self._classes)}")
        cls = self._classes[name]
        known = [item.name for item in fields(cls) if item.init]
        for key in settings:
            if key not in known:
                raise InputError(f"The {self.kind} {name!r} has no field {key!r}{nearest(key, known)}")
        try:
            return cls(**settings)
        except TypeError as error:
            raise InputError(f"The {self.kind} {name!r} cannot be made: {error}.") from None
