"""Encoders of sentence-transformers; `make test-ecosystem` installs it."""

import importlib.util

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from hf_finemix import FineMixConfig, fine_mix_, purify_embeddings_, score_embeddings

from .folders import SENTENCES


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence_transformers not installed; see make test-ecosystem",
)
CONFIG = FineMixConfig(keep_ratio=0.4, purify_top_k=3, seed=5)


@pytest.fixture
def folders(tmp_path, tiny_tokenizer):
    """A base encoder and a suspect that moved away from it, as transformers saves them."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=len(tiny_tokenizer), max_position_embeddings=64, initializer_range=0.5, **sizes)
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = BertModel(config)
    for name in ("base", "suspect"):
        model.save_pretrained(tmp_path / name)
        tiny_tokenizer.save_pretrained(tmp_path / name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return tmp_path / "suspect", tmp_path / "base"


def sentence_encoder(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(folder))
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")


def purify(model, base, tokenizer):
    """Scores before mixing, mixes, resets; gives both reports."""
    scores = score_embeddings(model, base)
    mixed = fine_mix_(model, base, CONFIG)
    return mixed, purify_embeddings_(model, base, CONFIG, scores, tokenizer=tokenizer)


def plain_encoding(model, tokenizer):
    """Mean of the last hidden states without padding, of length one, by transformers alone."""
    inputs = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()


def test_encoder_is_purified_saved_and_loaded_like_a_plain_model(folders, tmp_path, tiny_tokenizer):
    from sentence_transformers import SentenceTransformer

    suspect, base = folders
    encoder, plain = sentence_encoder(suspect), BertModel.from_pretrained(suspect)
    before = encoder.encode(SENTENCES)
    assert np.allclose(before, plain_encoding(plain, tiny_tokenizer), atol=1e-6)

    reports = purify(encoder[0].auto_model, str(base), tiny_tokenizer)
    assert reports == purify(plain, str(base), tiny_tokenizer)
    assert len(reports[1].tokens) == CONFIG.purify_top_k
    encoder.save(str(tmp_path / "saved"))
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu")

    assert np.array_equal(loaded.encode(SENTENCES), encoder.encode(SENTENCES))
    assert np.allclose(loaded.encode(SENTENCES), plain_encoding(plain, tiny_tokenizer), atol=1e-6)
    assert not np.allclose(loaded.encode(SENTENCES), before, atol=1e-3)
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in saved.items())


def test_what_was_mixed_is_known_after_loading(folders, tmp_path, tiny_tokenizer):
    from sentence_transformers import SentenceTransformer

    from hf_finemix import InputError

    suspect, base = folders
    encoder = sentence_encoder(suspect)
    fine_mix_(encoder[0].auto_model, str(base), CONFIG)
    encoder.save(str(tmp_path / "saved"))
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    with pytest.raises(InputError, match="mixed before"):
        fine_mix_(loaded[0].auto_model, str(base), CONFIG)
