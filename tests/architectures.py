"""Tiny models of every architecture and task that the project says it handles, and inputs for them."""

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from .models import make


VOCABULARY = 40
LENGTH, EXAMPLES, CHOICES, LABELS = 8, 4, 3, 3

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_ENCODER = _SIZES | {"vocab_size": VOCABULARY, "max_position_embeddings": 20, "pad_token_id": 0}
_DECODER = _SIZES | {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 32,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_T5 = {"vocab_size": VOCABULARY, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_EXPERTS = {"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 24}
# Of each architecture, what its classes begin with, and the settings of a tiny one.
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "BERT": ("Bert", _ENCODER),
    "RoBERTa": ("Roberta", _ENCODER),
    "XLM-RoBERTa": ("XLMRoberta", _ENCODER),
    "DistilBERT": (
        "DistilBert",
        {"vocab_size": VOCABULARY, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    ),
    "ALBERT": ("Albert", _ENCODER | {"embedding_size": 12}),
    "ELECTRA": ("Electra", _ENCODER | {"embedding_size": 12}),
    "DeBERTa-v2": (
        "DebertaV2",
        _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 4},
    ),
    "MPNet": ("MPNet", _ENCODER),
    "ModernBERT": (
        "ModernBert",
        _ENCODER | {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "T5": ("T5", _T5 | {"decoder_start_token_id": 0}),
    "GPT-2": (
        "GPT2",
        {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "pad_token_id": 0}
        | {"bos_token_id": 1, "eos_token_id": 2},
    ),
    "Llama": ("Llama", _DECODER),
    "Qwen2": ("Qwen2", _DECODER),
    "Qwen3": ("Qwen3", _DECODER),
    "Gemma 2": ("Gemma2", _DECODER),
    "Gemma 3": ("Gemma3Text", _DECODER),
    "SmolLM3": ("SmolLM3", _DECODER),
    "Mixtral": ("Mixtral", _DECODER | _EXPERTS),
    "ViT": ("ViT", _SIZES | {"image_size": 8, "patch_size": 4, "num_channels": 3}),
    "AST": (
        "AST",
        _SIZES | {"patch_size": 4, "frequency_stride": 4, "time_stride": 4, "max_length": 8, "num_mel_bins": 8},
    ),
}
ENCODER_TASKS = ("SequenceClassification", "TokenClassification", "MultipleChoice", "QuestionAnswering")
DECODER_TASKS = ("SequenceClassification", "TokenClassification", "CausalLM")
TASKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(list(_CONFIGS)[:9], ENCODER_TASKS),
    "T5": ("SequenceClassification", "TokenClassification", "QuestionAnswering", "ConditionalGeneration"),
    "GPT-2": ("SequenceClassification", "TokenClassification", "QuestionAnswering", "LMHead"),
    **dict.fromkeys(("Llama", "Qwen2", "Qwen3", "Gemma 2", "SmolLM3", "Mixtral"), DECODER_TASKS),
    "Gemma 3": ("SequenceClassification", "CausalLM"),
    "ViT": ("ImageClassification",),
    "AST": ("AudioClassification",),
}
CELLS = [(architecture, task) for architecture, tasks in TASKS.items() for task in tasks]
# Beside the usual problem of one label each: several labels at a time, and a number.
PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True)
class Cell:
    """One architecture with one head: its classes and configuration."""

    task: type[PreTrainedModel]
    bare: type[PreTrainedModel]
    config: PreTrainedConfig
    kind: str

    def pair(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """A suspect and a bare base, all of whose scalars differ."""
        return make(self.task, self.config, 1), make(self.bare, self.config, 0)

    def batch(self, examples: int = EXAMPLES) -> dict[str, torch.Tensor]:
        """Inputs with labels."""
        return inputs(self.kind, self.config, examples)


def cell(architecture: str, task: str, problem: str = PROBLEMS[0]) -> Cell:
    """Returns one cell of the table."""
    begin, settings = _CONFIGS[architecture]
    config_class = getattr(transformers, f"{begin}Config")
    labels = 1 if problem == "regression" else 2 if task == "QuestionAnswering" else LABELS
    config = config_class(**settings, num_labels=labels, problem_type=problem)
    names = (f"{begin}For{task}", f"{begin}{task}Model", f"{begin.removesuffix('Text')}For{task}")
    task_class = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    bare = "T5Model" if architecture == "T5" else f"{_CONFIGS[architecture][0]}Model"
    return Cell(task_class, getattr(transformers, bare), config, task)


def inputs(task: str, config: PreTrainedConfig, examples: int) -> dict[str, torch.Tensor]:
    """Drawn inputs of a task, with labels."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    if task == "ImageClassification":
        pixels = torch.randn(examples, 3, config.image_size, config.image_size, generator=generator)
        return {"pixel_values": pixels, "labels": draw(0, LABELS, examples)}
    if task == "AudioClassification":
        values = torch.randn(examples, config.max_length, config.num_mel_bins, generator=generator)
        return {"input_values": values, "labels": draw(0, LABELS, examples)}
    shape = (examples, CHOICES, LENGTH) if task == "MultipleChoice" else (examples, LENGTH)
    ids = draw(3, VOCABULARY, *shape)
    # The end of a sentence, by which encoder-decoders find what to classify.
    ids[..., -1] = 2 if getattr(config, "eos_token_id", None) == 2 else 1
    found = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if task == "QuestionAnswering":
        return found | {name: draw(0, LENGTH, examples) for name in ("start_positions", "end_positions")}
    if task in ("CausalLM", "LMHead", "ConditionalGeneration"):
        return found | {"labels": ids.clone()}
    if task == "TokenClassification":
        return found | {"labels": draw(0, LABELS, examples, LENGTH)}
    if task == "MultipleChoice":
        return found | {"labels": draw(0, CHOICES, examples)}
    if config.problem_type == "multi_label_classification":
        return found | {"labels": draw(0, 2, examples, LABELS).float()}
    if config.problem_type == "regression":
        return found | {"labels": torch.randn(examples, generator=generator)}
    return found | {"labels": draw(0, LABELS, examples)}
