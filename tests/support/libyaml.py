"""DVC reads and writes all of dvc.lock for every stage, with a YAML library in pure Python that takes a second for it.
Here libyaml does it, by the same rules."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TextIO

import yaml
from ruamel.yaml.resolver import implicit_resolvers


class Reader(yaml.CSafeLoader):
    """YAML 1.2, in which a key that is there twice is an error."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError("", node.start_mark, "a key is there twice", node.start_mark)
        return found


class Writer(yaml.CSafeDumper):
    """YAML 1.2, of what DVC holds in subclasses of dict, list and str too."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def ignore_aliases(self, data: Any) -> bool:
        return True


for versions, tag, pattern, first in implicit_resolvers:
    if (1, 2) in versions:
        Reader.add_implicit_resolver(tag, pattern, first)
        Writer.add_implicit_resolver(tag, pattern, first)
Writer.add_multi_representer(dict, Writer.represent_dict)
Writer.add_multi_representer(list, Writer.represent_list)
Writer.add_multi_representer(str, Writer.represent_str)


def read(text: str) -> Any:
    return yaml.load(text, Reader)


def write(data: Any, stream: TextIO | None = None) -> str | None:
    written: str | None = yaml.dump(data, stream, Writer, sort_keys=False, allow_unicode=True)
    return written


def use_libyaml() -> None:
    """Have DVC in this process read every YAML file and write dvc.lock with it; what it cannot read is left to DVC."""
    from dvc import dvcfile
    from dvc.utils import serialize, strictyaml
    from dvc.utils.serialize import _yaml

    parse, modify = _yaml.parse_yaml, _yaml.modify_yaml

    def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
        if typ == "safe":
            with suppress(yaml.YAMLError):
                return read(text) or {}
        return parse(text, path, typ)

    @contextmanager
    def modify_yaml(path: str, fs: Any = None) -> Iterator[Any]:
        if Path(path).name != "dvc.lock":
            with modify(path, fs) as data:
                yield data
            return
        held = _yaml.load_yaml(path, fs) if Path(path).exists() else {}
        yield held
        with Path(path).open("w", encoding="utf-8") as stream:
            write(held, stream)

    for module in (_yaml, serialize, strictyaml):
        module.parse_yaml = parse_yaml
    dvcfile.modify_yaml = modify_yaml
