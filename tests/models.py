"""Tiny models of several families, for the tests of loading and mixing."""

from dataclasses import dataclass

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)


VOCABULARY_SIZE = 48
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
_BERT_SIZES = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


@dataclass(frozen=True)
class Family:
    """The classes of one architecture, its configuration, and the name prefixes of its head."""

    config: PreTrainedConfig
    task: type[PreTrainedModel]
    bare: type[PreTrainedModel]
    head: tuple[str, ...]


def family(name: str) -> Family:
    """Returns a fresh family: `"bert"`, `"roberta"`, `"distilbert"` or `"gpt2"` (a tied language model)."""
    if name == "bert":
        return Family(BertConfig(**_BERT_SIZES), BertForSequenceClassification, BertModel, ("classifier.",))
    if name == "roberta":
        config = RobertaConfig(**_BERT_SIZES)
        return Family(config, RobertaForSequenceClassification, RobertaModel, ("classifier.",))
    if name == "distilbert":
        config = DistilBertConfig(
            vocab_size=VOCABULARY_SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=20
        )
        heads = ("classifier.", "pre_classifier.")
        return Family(config, DistilBertForSequenceClassification, DistilBertModel, heads)
    config = GPT2Config(
        vocab_size=VOCABULARY_SIZE, n_embd=16, n_layer=2, n_head=2, n_positions=20, bos_token_id=0, eos_token_id=0
    )
    return Family(config, GPT2LMHeadModel, GPT2Model, ())


def make(model_class: type[PreTrainedModel], config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """Makes a model with random weights, the same for the same seed, and a configuration of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(type(config).from_dict(config.to_dict())).eval()
        # Fresh biases are zeros and fresh norms ones: make every scalar tell where it came from.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return model


def make_pair(name: str, seed: int = 0) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Returns a fine-tuned task model and the bare pretrained model, all of whose scalars differ."""
    kind = family(name)
    return make(kind.task, kind.config, seed + 1), make(kind.bare, kind.config, seed)


def values(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of a model's parameters by name, tied ones once."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors agree in names and in every bit."""
    return first.keys() == second.keys() and all(bits_equal(first[name], second[name]) for name in first)


def bits_equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two tensors agree in dtype, shape and every bit; 0 and -0 differ."""
    return (
        first.dtype == second.dtype
        and first.shape == second.shape
        and torch.equal(_as_integers(first), _as_integers(second))
    )


def _as_integers(tensor: torch.Tensor) -> torch.Tensor:
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.detach().cpu().contiguous().view(integer)


def pretrained_values(model, base):
    """The base's values under the model's names, as far as the model has them."""
    own = values(model)
    named = {f"{model.base_model_prefix}.{key}": value for key, value in values(base).items()}
    return {key: value for key, value in named.items() if key in own}


def copy_of(model):
    """A model with the same weights."""
    twin = type(model)(type(model.config).from_dict(model.config.to_dict())).eval()
    twin.load_state_dict(model.state_dict())
    return twin
