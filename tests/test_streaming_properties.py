"""Property tests: whatever the tensors are and however the work is cut, the bytes are those of mixing in memory."""

import json
import tempfile
from pathlib import Path
from unittest import mock

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from hf_finemix import FineMixConfig, mix_checkpoints, mix_job
from hf_finemix.drift import in_parts
from hf_finemix.mixing import mix_
from hf_finemix.part_mixing import find_mix_cut

from .models import bits_equal
from .streams import tensors


EMBEDDING = "embeddings.word_embeddings.weight"
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SHAPES = st.lists(st.integers(0, 40), max_size=3).map(tuple)


@st.composite
def pairs(draw):
    """Draws two checkpoints of the same names and shapes, in any dtypes, of numbers of all magnitudes."""
    shapes = {EMBEDDING: (draw(st.integers(1, 300)), draw(st.integers(1, 300)))}
    for number in range(draw(st.integers(0, 5))):
        shapes[f"encoder.layer.{number}.{draw(st.sampled_from(['dense.weight', 'bias', 'LayerNorm.gamma']))}"] = draw(
            SHAPES
        )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def values(shape):
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        # Few different drifts, so that many scalars tie.
        drawn = drawn.round() if draw(st.booleans()) else drawn * 10.0 ** draw(st.integers(-8, 3))
        return drawn.to(draw(st.sampled_from(DTYPES)))

    return tuple({name: values(shape) for name, shape in shapes.items()} for _ in range(2))


def save(folder: Path, content, shards: int) -> None:
    """Saves tensors as a checkpoint of a bare BERT, in one file or several."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "model_type": "bert"}))
    names = list(content)
    if shards == 1:
        save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
        return
    files = {name: f"model-{number % shards}.safetensors" for number, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: content[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


@settings(max_examples=25, deadline=None)
@given(
    pair=pairs(),
    shards=st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([None, 1, 5000])),
    chunk=st.sampled_from([1, 7, 100, 4096, 1 << 17, 1 << 19]),
    part=st.sampled_from([1, 1000, 1 << 25]),
    workers=st.integers(1, 3),
    keep_ratio=st.sampled_from([0.0, 0.1, 0.5, 0.999, 1.0]),
    selection=st.sampled_from(["random", "smallest_drift", "largest_drift"]),
    seed=st.integers(0, 2**64 - 1),
)
def test_any_cut_gives_the_bytes_of_mixing_in_memory(pair, shards, chunk, part, workers, keep_ratio, selection, seed):
    config = FineMixConfig(keep_ratio, selection, seed, 0)
    # Tensors of one byte each would make a thousand pieces of each row.
    chunk = max(chunk, sum(value.nbytes for value in pair[0].values()) // 2000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, content, count in zip(("suspect", "base"), pair, shards[:2], strict=True):
            save(folder / name, content, count)
        with mock.patch.multiple(mix_job, CHUNK=chunk, PART=part):
            report = mix_checkpoints(
                folder / "suspect",
                folder / "base",
                folder / "out",
                config,
                max_shard_size=shards[2],
                workers=workers,
                hashes=seed % 2 == 0,
            )
        found = tensors(folder / "out")
    expected, base = ({name.replace("gamma", "weight"): value for name, value in content.items()} for content in pair)
    base = {name: value.to(expected[name].dtype) for name, value in base.items()}
    sizes = {name: value.numel() for name, value in expected.items()}
    cut = find_mix_cut(config, list(expected), lambda name: in_parts(expected[name], base[name]), sizes)
    kept = {name: mix_(value, base[name], name, config, cut) for name, value in expected.items()}
    assert found.keys() == expected.keys()
    assert all(bits_equal(found[name], value) for name, value in expected.items())
    assert {record.name: record.kept_scalars for record in report.mixed} == kept
