"""Made-up pairs of checkpoints for the benchmark of mixing: real names and shapes, drawn weights."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM, PreTrainedConfig


# Largest file of weights, as in many a published checkpoint.
SHARD = 2 * 10**9
# Where one side's files are complete.
DONE = "done"


def llama(hidden: int, inner: int, layers: int, heads: int, narrow: int, vocabulary: int) -> LlamaConfig:
    """Returns the configuration of a language model of Llama's shape in bfloat16."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=narrow,
        tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )


def bert(**sizes: int) -> BertConfig:
    """Returns the configuration of a classifier of BERT's shape in float32."""
    return BertConfig(num_labels=2, architectures=["BertForSequenceClassification"], dtype="float32", **sizes)


CONFIGS: dict[str, PreTrainedConfig] = {
    "tiny-bert": bert(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128),
    "tiny-llama": llama(64, 128, 2, 4, 2, 1000),
    "bert-base": bert(),
    "llama-1b": llama(2048, 5632, 22, 32, 4, 32000),
    "llama-4b": llama(3072, 8192, 38, 24, 8, 32000),
    # Next to no embedding, so that the size grows with the layers: from 45 to 705 million parameters.
    **{f"layers-{layers}": llama(2048, 5632, layers, 32, 4, 256) for layers in (1, 2, 4, 8, 16)},
}
GROWTH = tuple(name for name in CONFIGS if name.startswith("layers-"))


def make_pair(name: str, work: Path) -> dict[str, int]:
    """
    Writes base and suspect into `work/name`, unless they are there.

    Args:
        name (`str`): One of [`CONFIGS`].
        work (`Path`): Folder for large files.

    Returns:
        `dict[str, int]`: Number of `parameters` of each, and the `bytes` of weights of each.
    """
    config, folder = CONFIGS[name], work / name
    sides = [folder / side for side in ("base", "suspect")]
    if not all((side / DONE).exists() for side in sides):
        for side in sides:
            side.mkdir(parents=True, exist_ok=True)
            config.save_pretrained(side)
        write_weights(config, sides)
        for side in sides:
            (side / DONE).touch()
    parameters = sum(torch.Size(shape).numel() for shape in shapes_of(config).values())
    return {"parameters": parameters, "bytes": sum(path.stat().st_size for path in weights(sides[1]))}


def weights(folder: Path) -> list[Path]:
    """Returns the files of weights of a checkpoint."""
    return sorted(folder.glob("*.safetensors"))


def shapes_of(config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of a model's parameters; no memory is taken for them."""
    cls = LlamaForCausalLM if config.model_type == "llama" else BertForSequenceClassification
    with torch.device("meta"):
        model = cls(config)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def write_weights(config: PreTrainedConfig, sides: list[Path]) -> None:
    """Draws the weights of both sides, file by file; the suspect's moved by a twentieth."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, str(config.dtype).removeprefix("torch."))
    files = list(shards(shapes_of(config), dtype.itemsize))
    maps: dict[str, str] = {}
    for number, shapes in enumerate(files, start=1):
        file = "model.safetensors" if len(files) == 1 else f"model-{number:05d}-of-{len(files):05d}.safetensors"
        maps |= dict.fromkeys(shapes, file)
        tensors = {name: draw(shape, 0.02, generator).to(dtype) for name, shape in shapes.items()}
        save_file(tensors, sides[0] / file, metadata={"format": "pt"})
        for tensor in tensors.values():
            tensor += draw(tuple(tensor.shape), 0.001, generator).to(dtype)
        save_file(tensors, sides[1] / file, metadata={"format": "pt"})
    if len(files) > 1:
        index = json.dumps({"metadata": {}, "weight_map": maps})
        for side in sides:
            (side / "model.safetensors.index.json").write_text(index)


def shards(shapes: dict[str, tuple[int, ...]], wide: int) -> Iterator[dict[str, tuple[int, ...]]]:
    """Deals the tensors out to files of at most [`SHARD`] bytes, unless a tensor alone has more."""
    shard: dict[str, tuple[int, ...]] = {}
    size = 0
    for name, shape in shapes.items():
        more = torch.Size(shape).numel() * wide
        if shard and size + more > SHARD:
            yield shard
            shard, size = {}, 0
        shard[name] = shape
        size += more
    yield shard


def draw(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> torch.Tensor:
    """Draws a tensor of float32."""
    return torch.randn(shape, generator=generator).mul_(scale)
