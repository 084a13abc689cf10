"""Ways to train that must not change what is mixed: half precision, checkpointed activations, compilation."""

from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from transformers import BertForSequenceClassification

from hf_finemix import FineMixTrainer, FineMixTrainingArguments

from .models import same, values


CONFIGS = Path(__file__).parent.parent / "examples" / "accelerate_configs"


@pytest.fixture
def train(workplace, tmp_path):
    """Trains with changed arguments; returns the trainer and its folder."""

    def run(name, **changed):
        options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = BertForSequenceClassification.from_pretrained(workplace.suspect, **options)
        settings = {"max_steps": 3, "learning_rate": 1e-3, "save_strategy": "no", "report_to": "none", "use_cpu": True}
        settings |= {"per_device_train_batch_size": 4, "disable_tqdm": True, "logging_steps": 1, "purify_top_k": 5}
        args = FineMixTrainingArguments(str(tmp_path / name), **(settings | changed))
        data = [{"input_ids": torch.arange(5, 13) + index, "labels": index % 2} for index in range(12)]
        trainer = FineMixTrainer(model, args, pretrained=workplace.base, train_dataset=data)
        trainer.train()
        trainer.save_model()
        return trainer, load_file(tmp_path / name / "model.safetensors")

    return run


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    ("changed", "tolerance"),
    [
        ({"gradient_checkpointing": True}, 1e-6),
        ({"torch_compile": True, "torch_compile_backend": "aot_eager"}, 1e-5),
        ({"bf16": True}, 2e-2),
    ],
    ids=["checkpointed activations", "compiled", "half precision"],
)
def test_the_mixing_is_that_of_a_plain_run(train, changed, tolerance):
    plain, expected = train("plain")
    trainer, found = train("other", **changed)
    assert trainer.provenance.weights == plain.provenance.weights
    assert trainer.purify_report == plain.purify_report and plain.purify_report.applicable
    assert found.keys() == expected.keys() and all(tensor.dtype == torch.float32 for tensor in found.values())
    assert losses(trainer) == pytest.approx(losses(plain), abs=tolerance)
    # The mode was on: half precision shows, the others do not.
    equal = all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)
    assert equal == ("bf16" not in changed)


def test_a_compiled_model_gives_a_card_and_loads(train, tmp_path):
    trainer, found = train("compiled", torch_compile=True, torch_compile_backend="aot_eager")
    trainer.create_model_card()
    assert (tmp_path / "compiled" / "finemix_manifest.json").is_file()
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "compiled")
    assert same(values(loaded), values(trainer.model)) and not any("_orig_mod" in name for name in found)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_of_accelerate_load(path):
    config = load_config_from_file(str(path))
    assert config.mixed_precision == "bf16" and config.num_processes >= 1
    command = next(line for line in path.read_text().splitlines() if line.startswith("# accelerate launch"))
    assert f"--config_file examples/accelerate_configs/{path.name}" in command and "examples/train.py" in command
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "one_gpu": "NO", "two_machines": "MULTI_GPU"}
    assert config.distributed_type == kinds.get(path.stem, "DEEPSPEED")
