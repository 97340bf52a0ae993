"""Every format is read as its tool writes it; what cannot be read is told in one line."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from descry.errors import InputError
from descry.judging.descriptions import Descriptions, read_descriptions
from descry.judging.held_out import compose


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def told(descriptions: Descriptions) -> list[tuple[int, int, str]]:
    return [(row.layer, row.unit, row.text) for row in descriptions.rows]


EXPECTED = [(4, 0, 'a "quoted", word'), (4, 17, "refunds")]
TEXT, OTHER = (json.dumps(text) for _, _, text in EXPECTED)


@pytest.mark.parametrize(
    "lines",
    [
        'layer,unit,description\n4,0,"a ""quoted"", word"\n4,17,refunds\n',
        'unit,AUC,layer,description\n0,.5,transformer.h.3.mlp.act,"a ""quoted"", word"\n17,.6,4,refunds\n',
        'layer,unit,description,descriptor\n4,0,"a ""quoted"", word",x\n4,17,refunds,y\n',
    ],
)
def test_csv(tmp_path: Path, lines: str) -> None:
    assert told(read_descriptions(write(tmp_path / "d.csv", lines))) == EXPECTED


def test_delphi(tmp_path: Path) -> None:
    write(tmp_path / "explanations" / "layers.3.mlp_latent0.txt", TEXT)
    write(tmp_path / "explanations" / "layers.3.mlp_latent17.txt", OTHER)
    assert told(read_descriptions(tmp_path)) == EXPECTED


def test_neuronpedia(tmp_path: Path) -> None:
    features = [{"index": unit, "explanations": [{"text": text}]} for _, unit, text in EXPECTED]
    upload = {"modelId": "m", "source": "3-res-jb", "features": features}
    assert told(read_descriptions(write(tmp_path / "up.json", json.dumps(upload)))) == EXPECTED
    lines = "\n".join(
        json.dumps({"modelId": "m", "layer": "3-res-jb", "index": str(unit), "description": text})
        for _, unit, text in EXPECTED
    )
    bulk = tmp_path / "m" / "3-res-jb"
    (bulk / "explanations").mkdir(parents=True)
    (bulk / "explanations" / "batch-0.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    write(bulk / "features" / "batch-0.jsonl", "{}")
    assert told(read_descriptions(tmp_path / "m")) == EXPECTED


def test_openai(tmp_path: Path) -> None:
    records = [
        {"neuron_id": {"layer_index": 3, "neuron_index": unit}, "scored_explanations": [{"explanation": text}]}
        for _, unit, text in EXPECTED
    ]
    assert told(read_descriptions(write(tmp_path / "r.json", json.dumps(records)))) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", "layer,description\n1,x\n", "line 1: has no column unit or index or neuron"),
        ("d.csv", "layer,unit,description\n1,2,x\n1,2,y\n", "line 3: 1:2 has a description already"),
        ("d.csv", "layer,unit,description\n1,2, \n", "line 2: the description of 1:2 is empty"),
        ("d.csv", "layer,unit,description\n1,two,x\n", "line 2: unit is 'two', not a whole number"),
        ("d.csv", "layer,unit,description\nmlp,2,x\n", "line 2: the layer 'mlp' holds 0 numbers"),
        ("d.csv", "layer,unit,description\n1,2,x,y\n", "line 2: 4 cells where the header has 3"),
        ("d.csv", 'layer,unit,description\n1,2,"x\n', "close and double the quotes"),
        ("d.json", "{", "d.json: broken JSON"),
        ("d.json", "[{}]", "entry 1: neither Neuronpedia's nor OpenAI's descriptions"),
        ("d.jsonl", "[]\n", "line 1: neither"),
        ("d.pkl", "", ".pkl is not a format of descriptions"),
        ("explanations/x.txt", '"x"', "its name is not MODULE_latentNUMBER.txt"),
        ("explanations/layers.1.mlp_latent2.txt", "[1]", "is not a JSON string"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as error:
        read_descriptions(path if path.parent == tmp_path else tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_units_that_the_run_has_not_are_refused(tmp_path: Path) -> None:
    layer, index = np.array([1, 1, 2, 2]), np.array([0, 1, 0, 1])
    given = read_descriptions(write(tmp_path / "d.csv", "layer,unit,description\n2,1,x\n1,0,y\n"))
    assert given.locate(layer, index).tolist() == [3, 0]
    for line, said in (("0,1,x", "the layers are 1, 2, counted from 1"), ("2,9,x", "layer 2 has 0 to 1")):
        given = read_descriptions(write(tmp_path / "d.csv", f"layer,unit,description\n{line}\n"))
        with pytest.raises(InputError, match=f"line 2: the run has no unit .*{said}"):
            given.locate(layer, index)


def test_our_own_description_keeps_whole_sentences() -> None:
    assert compose("cost", []) == "cost"
    assert compose("cost", ["It is dear.", "Too\n much."]) == "cost: It is dear. Too much."
    assert compose("cost", ["x" * 300, "y" * 300]) == f"cost: {'x' * 300}"
