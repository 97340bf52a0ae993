"""depth: where in depth each descriptor lives, against shuffled layers."""

from descry import artifacts, depth, nulls
from descry.settings import Assign, Depth
from stages import _inputs, _stage


def main() -> None:
    settings, chosen = _stage.settings(Depth), _stage.settings(Assign)
    table, figures = None, None
    if settings.enabled:
        active = _inputs.activations(_stage.ACTIVATIONS, probe=False)
        labels, _, names = _inputs.labels("first")
        sets = active.map(lambda split: split.exemplars(chosen.exemplars))
        found = nulls.findings(sets, labels, chosen.model_dump(exclude={"exemplars"}))
        layer, assigned = active.calibration.layer, found.map(lambda split: split.assigned)
        table = depth.table(names, layer, assigned)
        figures = nulls.beside(*depth.measures(layer, assigned, **settings.model_dump(exclude={"enabled"})))
    artifacts.write_table(_stage.DEPTH / "descriptors.parquet", table, "depth")
    artifacts.write_table(_stage.DEPTH / "measures.parquet", figures, "measures")


if __name__ == "__main__":
    _stage.run(main)
