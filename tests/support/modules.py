"""Every module of a package, imported: what registers itself is known only then."""

import pkgutil
from importlib import import_module
from types import ModuleType

import descry.settings
from descry.settings.base import Section


def import_all(package: ModuleType) -> list[ModuleType]:
    """The modules that lie in a package, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [import_module(f"{package.__name__}.{name}") for name in names]


def list_sections() -> list[type[Section]]:
    """Every section of params.yaml."""
    import_all(descry.settings)
    return Section.__subclasses__()
