"""Adapters of every kind that is merged, with weights that were drawn."""

import torch
from peft import IA3Config, LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification


LABELS = ["bad", "good", "none"]
ENCODER = {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 6}
KINDS = {
    "LoRA": LoraConfig(**ENCODER, target_modules=["query", "value", "dense"]),
    "ranks and scales by module": LoraConfig(
        **ENCODER,
        target_modules=["query", "key", "value"],
        rank_pattern={"query": 2},
        alpha_pattern={"query": 5, "layer.1.attention.self.value": 7},
    ),
    "rsLoRA": LoraConfig(**ENCODER, target_modules=["query"], use_rslora=True),
    "DoRA": LoraConfig(**ENCODER, target_modules=["query", "dense"], use_dora=True),
    "LoRA with biases": LoraConfig(**ENCODER, target_modules=["query"], lora_bias=True, bias="lora_only"),
    "LoRA of embeddings": LoraConfig(**ENCODER, target_modules=["word_embeddings", "query"]),
    "LoRA and tokens": LoraConfig(
        **ENCODER, target_modules=["query"], trainable_token_indices={"word_embeddings": [7, 3]}
    ),
    "LoRA and a whole module": LoraConfig(
        **ENCODER, target_modules=["query"], modules_to_save=["classifier", "pooler"]
    ),
    "(IA)^3": IA3Config(
        task_type="SEQ_CLS",
        target_modules=["key", "value", "output.dense"],
        feedforward_modules=["output.dense"],
    ),
}


def train(model, config, folder):
    """Saves an adapter whose every tensor was drawn; gives what PEFT itself merges."""
    # PEFT fills in what it finds out about a model.
    adapted = get_peft_model(model, type(config)(**config.to_dict()))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload()


def make_adapter(base, folder, config):
    return train(AutoModelForSequenceClassification.from_pretrained(base, num_labels=3), config, folder)


def close(first, second):
    return first.keys() == second.keys() and all(
        torch.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in first
    )
