"""The vocabulary: descriptors, and edits to them by hand."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from descry.errors import InputError


@dataclass(frozen=True)
class Descriptor:
    """A name, the candidates that it stands for (most frequent first), and the number of sentences proposing them."""

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
    """Apply edits by hand: first merge {target: [names]}, then rename {old: new}, then drop.

    A target may be new, or one of the descriptors, which is then merged too. A merged descriptor takes the place of its
    first part; its count of sentences is the sum of its parts', an upper bound. Errors: InputError for an unknown name,
    a name that is taken, a merge of nothing, or if nothing is left.
    """
    edited = {descriptor.name: descriptor for descriptor in found}
    for target, names in (merge or {}).items():
        merging = dict.fromkeys([target, *names] if target in edited else names)
        parts = [_look_up(edited, name) for name in merging]
        if not parts:
            raise InputError(f"descriptor edits: merge into '{target}' names none; list at least one")
        members = tuple(dict.fromkeys(member for part in parts for member in part.members))
        merged = Descriptor(target, members, sum(part.sentences for part in parts))
        gone = {part.name for part in parts}
        first = min(list(edited).index(name) for name in gone)
        before = list(edited.values())
        edited = {
            descriptor.name: descriptor
            for position, old in enumerate(before)
            for descriptor in ([merged] if position == first else [] if old.name in gone else [old])
        }
    for old, new in (rename or {}).items():
        descriptor = _look_up(edited, old)
        if new != old and new in edited:
            raise InputError(f"descriptor edits: rename '{old}' to '{new}': that name is taken; use merge")
        edited = {
            (new if name == old else name): (replace(descriptor, name=new) if name == old else kept)
            for name, kept in edited.items()
        }
    for name in drop:
        _look_up(edited, name)
        del edited[name]
    if not edited:
        raise InputError("descriptor edits: every descriptor is dropped; keep at least one")
    return list(edited.values())


def _look_up(descriptors: Mapping[str, Descriptor], name: str) -> Descriptor:
    """Look up a descriptor by name. Errors: InputError with similar names if there is none."""
    if name in descriptors:
        return descriptors[name]
    near = difflib.get_close_matches(name, list(descriptors), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(sorted(descriptors)[:10])}"
    raise InputError(f"descriptor edits: no descriptor '{name}'; {hint}?")
