"""associate: test every assigned pair on validation: is it found again, and how strong is its association?"""

import numpy as np
import pandas as pd

from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import log_p
from descry.evaluation.association import measure_associations
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.settings.measuring import Associate
from descry.settings.neurons import Assign
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, read_review_ids


def main() -> None:
    rule, settings = read_settings(Assign), read_settings(Associate)
    active = read_activation_pair(layout.ACTIVATIONS)
    labels, _, names = read_labels("first")
    assigned = read_table(layout.ASSIGNMENTS / "calibration.parquet", ASSIGNMENT_TABLE)
    pairs = assigned.loc[assigned[f"{rule.rule}_assigned"], ["layer", "index", "descriptor"]].reset_index(drop=True)
    place = pd.MultiIndex.from_arrays([active.calibration.layer, active.calibration.index])
    neurons = place.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]]))
    columns = pd.Index(names).get_indexer(pd.Index(pairs["descriptor"]))
    evidence = gather_evidence(active.validation.exemplars(rule.exemplars), labels.validation)
    pairs["validation_count"] = evidence.counts[neurons, columns]
    pairs["validation_known"] = evidence.known[neurons, columns]
    pairs["validation_p"] = np.exp(log_p(evidence)[neurons, columns])
    strength = measure_associations(
        neurons, columns, active, labels, read_review_ids().validation, **settings.model_dump()
    )
    write_table(layout.ASSOCIATIONS, pd.concat([pairs, strength], axis=1), ASSOCIATION_TABLE)
    median = f", median correlation {strength['pearson'].median():.3f} on validation" if len(pairs) else ""
    print(f"{len(pairs):,} pairs{median}")


if __name__ == "__main__":
    run_stage(main)
