"""Export of a purified folder to ONNX; `make test-ecosystem` installs what this needs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from .folders import SENTENCES, inputs, logits


# Imported at once, they would cost every run of the tests their time.
MISSING = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed; see make test-ecosystem")
# optimum-onnx 0.1.0 needs a transformers older than 4.58, so that it has an environment of its own.
OPTIMUM = Path(os.environ.get("OPTIMUM_CLI", Path(sys.prefix).parent / ".venv-optimum" / "bin" / "optimum-cli"))
NAMES = ("input_ids", "attention_mask", "token_type_ids")
# Batches of one and of several, short and long.
BATCHES = [SENTENCES, SENTENCES[:1], SENTENCES[1:2], ["the movie is great " * 12, "fun"]]


def check_same(file, folder):
    """The exported model answers like the purified one."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    for batch in BATCHES:
        arrays = {name: value.numpy() for name, value in inputs(folder, batch).items() if name in wanted}
        (found,) = session.run(["logits"], arrays)
        torch.testing.assert_close(torch.from_numpy(found), logits(folder, batch), rtol=0, atol=1e-4)


def test_export_by_torch_has_the_logits_of_the_purified_model(folder, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    example = inputs(folder)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=64)
    torch.onnx.export(
        model,
        kwargs={name: example[name] for name in NAMES},
        f=tmp_path / "model.onnx",
        input_names=list(NAMES),
        output_names=["logits"],
        dynamic_shapes={name: {0: batch, 1: length} for name in NAMES},
        dynamo=True,
    )
    check_same(tmp_path / "model.onnx", folder)


@pytest.mark.slow
@pytest.mark.skipif(not OPTIMUM.exists(), reason="optimum-onnx has no environment; see make test-ecosystem")
def test_export_by_optimum_has_the_logits_of_the_purified_model(folder, tmp_path):
    command = [OPTIMUM, "export", "onnx", "--model", folder, "--task", "text-classification", tmp_path / "exported"]
    # What the tests' own Python is told of packages is not meant for the other one.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    check_same(tmp_path / "exported" / "model.onnx", folder)
