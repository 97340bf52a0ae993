"""The vocabulary: descriptors, and edits by hand."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from descry.errors import InputError


@dataclass(frozen=True)
class Descriptor:
    """A name, the candidates grouped under it (the weightiest first), and the sentences behind them."""

    name: str
    members: tuple[str, ...]
    sentences: int


def apply_edits(
    found: Sequence[Descriptor],
    *,
    rename: Mapping[str, str] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    drop: Iterable[str] = (),
) -> list[Descriptor]:
    """The descriptors after edits by hand: first merge {target: [names]}, then rename {old: new}, then drop.

    A target may be new or be one of the descriptors, which then takes part. A merged descriptor stands where
    its first part stood; its sentences are the parts' sum, at most. Errors: InputError for an unknown or a
    doubled name.
    """
    edited = {descriptor.name: descriptor for descriptor in found}
    for target, names in (merge or {}).items():
        taking_part = dict.fromkeys([target, *names] if target in edited else names)
        parts = [_known(edited, name) for name in taking_part]
        if not parts:
            raise InputError(f"descriptor edits: merge into '{target}' names none; list at least one")
        members = tuple(dict.fromkeys(member for part in parts for member in part.members))
        merged = Descriptor(target, members, sum(part.sentences for part in parts))
        gone = {part.name for part in parts}
        first = min(list(edited).index(name) for name in gone)
        standing = list(edited.values())
        edited = {
            descriptor.name: descriptor
            for position, old in enumerate(standing)
            for descriptor in ([merged] if position == first else [] if old.name in gone else [old])
        }
    for old, new in (rename or {}).items():
        descriptor = _known(edited, old)
        if new != old and new in edited:
            raise InputError(f"descriptor edits: rename '{old}' to '{new}': that name is taken; use merge")
        edited = {
            (new if name == old else name): (replace(descriptor, name=new) if name == old else kept)
            for name, kept in edited.items()
        }
    for name in drop:
        _known(edited, name)
        del edited[name]
    if not edited:
        raise InputError("descriptor edits: every descriptor is dropped; keep at least one")
    return list(edited.values())


def _known(descriptors: Mapping[str, Descriptor], name: str) -> Descriptor:
    if name in descriptors:
        return descriptors[name]
    near = difflib.get_close_matches(name, list(descriptors), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(sorted(descriptors)[:10])}"
    raise InputError(f"descriptor edits: no descriptor '{name}'; {hint}?")
