"""The step after mixing with a fresh adapter: what is trained, what is saved, how it goes on."""

import json

import pytest
import torch
from peft import LoHaConfig, LoraConfig, PeftModel, PrefixTuningConfig, TaskType, get_peft_model
from transformers import BertForSequenceClassification, BertTokenizerFast, LlamaConfig, LlamaForCausalLM

from hf_finemix import FineMixConfig, FineMixTrainer, FineMixTrainingArguments, InputError, fine_mix_, verify
from hf_finemix.adapter_training import merged_copy

from .models import make, same, values


LORA = LoraConfig(task_type=TaskType.SEQ_CLS, r=4, lora_alpha=8, target_modules=["query", "value"], lora_dropout=0.0)


@pytest.fixture
def examples(tiny_tokenizer):
    """Sixteen tokenised sentences."""
    words = ("good", "bad", "fine", "dull") * 4
    encoded = tiny_tokenizer([f"the movie is {word}" for word in words])
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": number % 2}
        for number, (ids, mask) in enumerate(zip(encoded["input_ids"], encoded["attention_mask"], strict=True))
    ]


@pytest.fixture
def make_trainer(place, examples, tmp_path):
    """Makes trainers with the same settings, each with a suspect of its own."""

    def make(folder="run", peft_config=LORA, model_init=False, **options):
        settings = {"keep_ratio": 0.3, "purify_top_k": 5, "max_steps": 4, "learning_rate": 1e-2, "save_steps": 2}
        settings |= {"report_to": "none", "use_cpu": True, "per_device_train_batch_size": 4} | options

        def load():
            return BertForSequenceClassification.from_pretrained(place.suspect)

        return FineMixTrainer(
            None if model_init else load(),
            FineMixTrainingArguments(str(tmp_path / folder), **settings),
            train_dataset=examples,
            processing_class=BertTokenizerFast.from_pretrained(place.suspect),
            pretrained=place.base,
            peft_config=peft_config,
            **({"model_init": load} if model_init else {}),
        )

    return make


def answers(model, examples):
    batch = {"input_ids": torch.tensor([row["input_ids"] for row in examples[:4]])}
    with torch.no_grad():
        return model.eval()(**batch).logits


@pytest.mark.parametrize("model_init", [False, True])
def test_only_the_adapter_and_the_head_are_trained_on_mixed_weights(place, make_trainer, model_init):
    trainer = make_trainer(model_init=model_init)
    mixed = BertForSequenceClassification.from_pretrained(place.suspect)
    fine_mix_(mixed, place.base, FineMixConfig(0.3, seed=trainer.args.seed))
    trained = {name for name, tensor in trainer.model.named_parameters() if tensor.requires_grad}
    assert trained and all("lora_" in name or "classifier" in name for name in trained)
    trainer.train()
    base = {name: tensor for name, tensor in values(trainer.model.get_base_model()).items() if "lora_" not in name}
    inner = base["bert.encoder.layer.0.attention.self.query.base_layer.weight"]
    assert torch.equal(inner, values(mixed)["bert.encoder.layer.0.attention.self.query.weight"])
    assert isinstance(trainer.model, PeftModel) and trainer.purify_report.tokens
    # Classifiers average their loss over the batch, with an adapter, too.
    assert trainer.model_accepts_loss_kwargs is False


def test_the_output_is_a_whole_model_that_loads_by_itself(make_trainer, examples, tmp_path):
    trainer = make_trainer()
    trainer.train()
    before = answers(trainer.model, examples)
    trainer.save_model()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "model.safetensors" in names and not {"adapter_config.json", "training_args.bin"} & names
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / "run")
    assert torch.allclose(answers(loaded, examples), before, atol=1e-5)
    assert same(values(loaded), values(merged_copy(trainer.model)))
    assert loaded.config.finemix["keep_ratio"] == 0.3
    assert json.loads((tmp_path / "run" / "config.json").read_text())["architectures"] == [type(loaded).__name__]
    # Saving touched nothing.
    assert torch.equal(answers(trainer.model, examples), before) and isinstance(trainer.model, PeftModel)


def test_a_resumed_run_equals_an_unbroken_one(make_trainer, tmp_path):
    whole = make_trainer("whole")
    whole.train()
    first = make_trainer("broken", save_total_limit=None)
    first.train()
    checkpoint = tmp_path / "broken" / "checkpoint-2"
    assert (checkpoint / "adapter_model.safetensors").is_file() and not (checkpoint / "model.safetensors").exists()
    again = make_trainer("broken")
    again.train(resume_from_checkpoint=str(checkpoint))
    assert same(values(merged_copy(again.model)), values(merged_copy(whole.model)))


def test_the_card_says_what_was_trained_and_the_mixing_is_verified(place, make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.train()
    trainer.save_model()
    trainer.create_model_card()
    card = (tmp_path / "run" / "README.md").read_text()
    assert "by a fresh LoRA adapter of rank 4, which was merged into it" in card
    assert "peft_config=adapter,  # LoRA of rank 4" in card
    found = verify(tmp_path / "run", suspect=place.suspect, pretrained=place.base)
    assert not found.failed(), found


@pytest.mark.parametrize("folder", ["elsewhere", "run/final"])
def test_it_is_merged_wherever_it_is_saved(make_trainer, tmp_path, folder):
    trainer = make_trainer(max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / folder))
    loaded = BertForSequenceClassification.from_pretrained(tmp_path / folder)
    assert same(values(loaded), values(merged_copy(trainer.model)))


@pytest.mark.parametrize("targets", [["q_proj", "lm_head"], ["q_proj", "embed_tokens"], ["lm_head", "embed_tokens"]])
def test_tied_embeddings_that_an_adapter_changes_are_untied(tmp_path, targets):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = make(LlamaForCausalLM, LlamaConfig(vocab_size=40, tie_word_embeddings=True, **sizes))
    adapted = get_peft_model(model, LoraConfig(task_type=TaskType.CAUSAL_LM, r=2, target_modules=targets))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += 0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch = {"input_ids": torch.tensor([[3, 7, 11, 5]])}
    merged_copy(adapted).save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.allclose(adapted.eval()(**batch).logits, loaded.eval()(**batch).logits, atol=1e-4)
    assert loaded.config.tie_word_embeddings is False and model.config.tie_word_embeddings is True


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=4), "changes inputs instead of weights"),
        (LoHaConfig(target_modules=["query"]), "of the kind LOHA; only LORA, IA3"),
        ({"r": 4}, "is a dict, but must be a configuration of PEFT"),
        (LoraConfig(target_modules=["no_such"]), "does not fit the model"),
    ],
)
def test_what_cannot_be_merged_is_refused(make_trainer, config, words):
    with pytest.raises(InputError, match=words) as error:
        make_trainer(peft_config=config)
    assert "\n" not in str(error.value)
