"""What the command line refuses: with one line, status 2 where the input is to blame, and nothing left behind."""

import pytest
import torch

from .files import change_config, run, write_csv


def spoil_path(place):
    return {"suspect": place.root / "nowhere"}, "does not exist"


def spoil_pretrained_path(place):
    return {"pretrained": place.root / "nowhere"}, "does not exist"


def spoil_by_giving_the_suspect_twice(place):
    return {"pretrained": place.suspect}, "SUSPECT and --pretrained are both"


def spoil_architecture(place):
    change_config(place.base, model_type="roberta")
    return {}, "another architecture"


def spoil_hidden_size(place):
    change_config(place.base, hidden_size=48)
    return {}, "another hidden size"


def spoil_vocabulary_size(place):
    change_config(place.base, vocab_size=99)
    return {}, "word_embeddings.weight is another shape in the pretrained checkpoint"


def spoil_vocabulary(place):
    tokenizer = place.base / "tokenizer.json"
    swapped = tokenizer.read_text().replace('"cf"', '"@@"').replace('"mn"', '"cf"').replace('"@@"', '"mn"')
    tokenizer.write_text(swapped)
    return {}, "another vocabulary"


def spoil_column(place):
    return {"text_column": "sentence"}, "'sentence'"


def spoil_label(place):
    data = write_csv(place.root / "bad.csv", ["text", "label"], [("a film", "positive"), ("a plot", "superb")])
    return {"clean_data": data}, "unknown label 'superb'"


def spoil_rows(place):
    return {"clean_data": write_csv(place.root / "bad.csv", ["text", "label"], [])}, "no rows"


def spoil_classes(place):
    rows = [("a good film", "positive"), ("a great film", "positive")]
    return {"clean_data": write_csv(place.root / "bad.csv", ["text", "label"], rows)}, "only"


def spoil_ratio(place):
    return {"keep_ratio": "1.5"}, "from 0 to 1"


def spoil_ratio_nan(place):
    return {"keep_ratio": "nan"}, "from 0 to 1"


def spoil_output(place):
    (place.root / "full").mkdir()
    (place.root / "full" / "mine.txt").write_text("mine")
    return {"output": place.root / "full"}, "already holds something"


def spoil_with_pickle(place):
    torch.save({}, place.suspect / "pytorch_model.bin")
    (place.suspect / "model.safetensors").unlink()
    return {}, "pytorch_model.bin"


def spoil_by_quantising(place):
    change_config(place.suspect, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    return {}, "quantised"


def spoil_by_mixing(place):
    change_config(place.suspect, finemix={"keep_ratio": 0.3})
    return {}, "mixed before"


def spoil_weights(place):
    weights = place.suspect / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return {}, "damaged"


def spoil_trigger(place):
    return {"trigger": " ", "target_label": "1", "eval_data": place.clean}, "--trigger is blank"


def spoil_epochs(place):
    return {"epochs": "0"}, "epochs"


def spoil_learning_rate(place):
    return {"learning_rate": "-1"}, "learning_rate"


SPOILERS = [value for name, value in sorted(globals().items()) if name.startswith("spoil_")]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_bad_input_gets_one_line_and_leaves_nothing(workplace, capsys, spoil):
    changed, message = spoil(workplace)
    before = sorted(workplace.root.rglob("*"))
    status, out, err = run(capsys, workplace.arguments(**changed))
    assert status == 2, err
    assert message in err
    assert err.count("\n") == 1 and "Traceback" not in err and "usage" not in err
    assert out == ""
    assert sorted(workplace.root.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["purify"], ["purify", "x"], ["scan", "x", "--pretrained", "y", "--top", "many"]],
)
def test_wrong_arguments_get_one_line(capsys, arguments):
    status, _, err = run(capsys, arguments)
    assert status == 2
    assert err.count("\n") == 1 and "usage" not in err


def test_trigger_needs_its_companions(workplace, capsys):
    assert "--target-label" in run(capsys, workplace.arguments("--trigger", "cf"))[2]
    assert "--eval-data" in run(capsys, workplace.arguments("--trigger", "cf", "--target-label", "1"))[2]


def test_debug_shows_the_traceback(workplace, capsys):
    _, _, err = run(capsys, workplace.arguments("--debug", suspect=workplace.root / "nowhere"))
    assert "Traceback" in err


def test_a_failed_job_gives_one(workplace, capsys, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hf_finemix.job_output.write_evidence", full_disk)
    before = sorted(workplace.root.rglob("*"))
    status, _, err = run(capsys, workplace.arguments())
    assert status == 1
    assert "No space left on device" in err and err.count("\n") == 1
    assert sorted(workplace.root.rglob("*")) == before
