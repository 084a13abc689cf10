"""Models that want to run code: modules of their own, pickles, kernels and pipelines of the Hub."""

import json
import zipfile

import numpy as np

from .animals import ADAPTER, EVALUATE, HANDLED, MODEL, REFUSED, animal


KIND = "code execution"


@animal(KIND, HANDLED, "auto_map")
def module_in_auto_map(cage):
    """config.json names a module of the folder (auto_map)"""
    cage.code()
    cage.change(auto_map={"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"})


@animal(KIND, REFUSED, "no model type", EVALUATE)
def module_of_an_unknown_type(cage):
    """the type of model exists in a module of the folder alone"""
    cage.code()
    cage.change(model_type="evil", auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"})


@animal(KIND, HANDLED, "evil")
def module_of_the_tokenizer(cage):
    """tokenizer_config.json names a module of the folder"""
    cage.code()
    cage.change("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})


@animal(KIND, REFUSED, "tokenizer", MODEL[:1])
def tokenizer_of_an_unknown_class(cage):
    """the class of the tokenizer exists in a module of the folder alone"""
    cage.code()
    cage.path("tokenizer.json").unlink()
    cage.change("tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]})


@animal(KIND, REFUSED, "only pytorch_model.bin")
def pickle_alone(cage):
    """weights as a pickle alone"""
    cage.weights.unlink()
    cage.path("pytorch_model.bin").write_bytes(cage.payload())


@animal(KIND, REFUSED, "damaged model.safetensors")
def pickle_called_safetensors(cage):
    """a pickle under the name of the weights"""
    cage.weights.write_bytes(cage.payload())


@animal(KIND, REFUSED, "damaged model.safetensors")
def archive_called_safetensors(cage):
    """a zip archive with a pickle in it, as torch.save makes, under the name of the weights"""
    with zipfile.ZipFile(cage.weights, "w") as file:
        file.writestr("archive/data.pkl", cage.payload())


@animal(KIND, REFUSED, "damaged evil.bin")
def pickle_in_the_index(cage):
    """the index names a pickle as a shard"""
    cage.index({"classifier.weight": "evil.bin"})
    cage.path("evil.bin").write_bytes(cage.payload())


@animal(KIND, REFUSED, "transformers_weights")
def pickle_in_the_configuration(cage):
    """config.json names a pickle as the weights"""
    cage.path("evil.bin").write_bytes(cage.payload())
    cage.change(transformers_weights="evil.bin")


@animal(KIND, HANDLED, "training_args")
def pickles_beside_the_weights(cage):
    """pickles of a training run, and code, beside plain weights"""
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "pytorch_model.bin", "rng_state.pth"):
        cage.path(name).write_bytes(cage.payload())
    for name in ("handler.py", "tokenization_bert.py", "modeling_bert.py"):
        cage.code(name)


@animal(KIND, HANDLED, "counts.npy")
def pickled_array(cage):
    """an array of numpy that is a pickle"""
    np.save(cage.path("counts.npy"), np.array([{"a": 1}], dtype=object), allow_pickle=True)


@animal(KIND, REFUSED, "code from the Hub")
def kernel_as_attention(cage):
    """the attention implementation is a repository of the Hub"""
    cage.change(attn_implementation="evil/kernel")


@animal(KIND, REFUSED, "code from the Hub")
def kernel_deep_inside(cage):
    """the same in a list in an object of config.json"""
    cage.change(text_config={"parts": [{"_attn_implementation": {"": "evil/kernel:function"}}]})


@animal(KIND, REFUSED, "code from the Hub")
def kernel_configuration(cage):
    """a mapping of layers to kernels of the Hub"""
    cage.change(kernel_config={"RMSNorm": "evil/kernel:Layer"})


@animal(KIND, HANDLED, "custom_pipelines")
def pipeline_of_its_own(cage):
    """config.json names a pipeline in a module of the folder"""
    cage.code()
    cage.change(custom_pipelines={"text-classification": {"impl": "evil.Evil", "pt": ["AutoModel"]}})


@animal(KIND, HANDLED, "builtins.eval")
def activation_by_name_of_a_function(cage):
    """entries that other libraries import by name"""
    cage.change(sentence_transformers={"activation_fn": "builtins.eval", "version": "5"})


@animal(KIND, REFUSED, "another model's weights")
def backbone_from_elsewhere(cage):
    """config.json asks for the weights of another repository"""
    cage.change(backbone_config={"use_pretrained_backbone": True, "backbone": "evil/backbone"})


@animal(KIND, REFUSED, "a pickle is never loaded", ADAPTER)
def adapter_as_a_pickle(cage):
    """an adapter whose weights are a pickle"""
    cage.weights.unlink()
    cage.path("adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "target_modules": ["query"]}))
    cage.path("adapter_model.bin").write_bytes(cage.payload())


@animal(KIND, REFUSED, "auto_mapping", ADAPTER)
def adapter_with_a_class(cage):
    """an adapter that names the class of its base by module"""
    content = {"peft_type": "LORA", "r": 4, "target_modules": ["query"]}
    content["auto_mapping"] = {"base_model_class": "system", "parent_library": "os"}
    cage.path("adapter_config.json").write_text(json.dumps(content))
