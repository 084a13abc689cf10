"""Adapters merged into the base that the user names; never into one that they name themselves."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from . import adapter_merging as merging
from .adapter_modules import merged_module
from .adapters import Adapter, resolve_adapter
from .checks import check_finite
from .errors import InputError, reason
from .loading import Checkpoint, quiet_loading, resolve_checkpoint
from .model_loading import load_tokenizer, read_model
from .output import check_output, staged_folder


# What PEFT calls a task, and what loads a model for it.
_TASKS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
}


def merge_adapter(
    adapter: str | Path | Adapter,
    pretrained: str | Path | Checkpoint,
    output: str | Path,
    *,
    labels: Sequence[str] | None = None,
    share: float = 1.0,
) -> PreTrainedModel:
    """
    Merges an adapter into its base model and saves the whole, as a suspect that can be mixed with that base.

    Args:
        adapter (`str`, `Path` or [`Adapter`]): LoRA, rsLoRA, DoRA, (IA)^3 or trainable tokens.
        pretrained (`str`, `Path` or [`~hf_finemix.loading.Checkpoint`]):
            The base. What the adapter names as such is not looked at.
        output (`str` or `Path`): Folder to make. It appears whole or not at all.
        labels (`Sequence[str]`, *optional*): Names of a classifier's labels, which an adapter does not know.
        share (`float`, *optional*, defaults to 1.0):
            How much of each change is merged, in [0, 1]: a cheap alternative to mixing, which weakens task and
            backdoor alike. Heads and other parameters that an adapter replaces are taken whole.

    Returns:
        [`~transformers.PreTrainedModel`]: The merged model.

    Raises:
        InputError: If the adapter does not fit the base, or the output cannot be made.
    """
    target = check_output(output)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise InputError(f"--share is {share!r}, but must be a number from 0 to 1.")
    adapter = adapter if isinstance(adapter, Adapter) else resolve_adapter(adapter)
    base = pretrained if isinstance(pretrained, Checkpoint) else resolve_checkpoint(pretrained, "--pretrained")
    model = load_base(adapter, base, labels)
    apply_(model, adapter, share)
    with staged_folder(target) as folder:
        model.config._name_or_path = ""
        with quiet_loading():
            model.save_pretrained(folder)
        own = Checkpoint(adapter.source, adapter.folder, {}, ())
        places = (("ADAPTER", own), ("--pretrained", base))
        argument, place = next((pair for pair in places if pair[1].has_tokenizer), ("", None))
        if place is not None:
            _save_tokenizer(load_tokenizer(place, argument), folder, f"{argument} {place.source!r}")
    return model


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, what: str) -> None:
    try:
        tokenizer.save_pretrained(folder)
    except OSError:
        # The disk, not the tokenizer.
        raise
    except Exception as error:
        raise InputError(f"{what} has a tokenizer that cannot be saved: {reason(error, 120)}") from None


def load_base(adapter: Adapter, base: Checkpoint, labels: Sequence[str] | None = None) -> PreTrainedModel:
    """
    Loads the model that an adapter is for, with the head that the adapter brings still to come.

    Raises:
        InputError: If its task is not known, it lacks a head, or the labels are not as many as its head has.
    """
    task = adapter.settings.task
    if task not in _TASKS:
        raise InputError(f"ADAPTER {adapter.source!r} is for the task {task!r}; known are {', '.join(_TASKS)}.")
    options: dict[str, Any] = {}
    count = adapter.num_labels if task in ("SEQ_CLS", "TOKEN_CLS") else None
    if count is not None:
        options["num_labels"] = count
    if labels is not None:
        if count is None:
            raise InputError("--labels are those of a classifier's head, which this adapter does not bring.")
        if len(labels) != count or len(set(labels)) < len(labels):
            raise InputError(f"--labels names {len(labels)} labels, but the adapter's head tells {count} apart.")
        options |= {"id2label": dict(enumerate(labels)), "label2id": {name: at for at, name in enumerate(labels)}}
    cls = getattr(transformers, _TASKS[task])
    model, info = read_model(cls, base, f"--pretrained {base.source!r}", options)
    missing = {*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])} - adapter.whole.keys()
    if missing:
        raise InputError(
            f"ADAPTER {adapter.source!r} brings no {min(missing)}, which --pretrained {base.source!r} lacks, too."
        )
    return model.eval()


@torch.no_grad()
def apply_(model: PreTrainedModel, adapter: Adapter, share: float = 1.0) -> None:
    """
    Merges an adapter, or a share of each of its changes, into a model, in place.

    Word embedding and output layer that the base ties are untied where the adapter changes them differently: an
    adapter on one of the two leaves the other as it is, and a model that were saved tied would lose one of them.

    Raises:
        InputError: If a module or shape does not fit, or a weight would no longer be finite; the model is unchanged.
    """
    what = f"ADAPTER {adapter.source!r}"
    parameters = dict(model.named_parameters(remove_duplicate=False))
    made = dict(adapter.whole)
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, parts in adapter.parts.items():
        module = modules.get(name)
        if module is None or f"{name}.weight" not in parameters:
            raise InputError(f"{what} changes {name}, which the model of --pretrained does not have.")
        try:
            found = merged_module(module, name, parts, adapter.settings)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{what} does not fit {name}: {str(error).splitlines()[0][:120]}") from None
        for kind, tensor in found.items():
            before = parameters[f"{name}.{kind}"]
            made[f"{name}.{kind}"] = tensor if share == 1 else _part_of_the_way(before, tensor, share)
    for name, tensor in made.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.shape != tensor.shape:
            there = "not at all" if parameter is None else f"in shape {tuple(parameter.shape)}"
            raise InputError(
                f"{what} has {name[:80]!r} in shape {tuple(tensor.shape)}, but the model of --pretrained {there}."
            )
    made = {name: tensor.to(parameters[name].dtype) for name, tensor in made.items()}
    check_finite(made.items(), "ADAPTER")
    _follow(parameters, made, adapter)
    apart = _going_apart(parameters, made)
    if apart:
        output = model.get_output_embeddings()
        if len(apart) > 2 or output is None or all(parameters[name] is not output.weight for name in apart):
            raise InputError(
                f"{what} changes {apart[0]} and others apart, which --pretrained ties ({len(apart)} names); such a "
                "model cannot be saved."
            )
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False
        parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, tensor in made.items():
        parameters[name].copy_(tensor)


def _part_of_the_way(before: torch.Tensor, after: torch.Tensor, share: float) -> torch.Tensor:
    return merging.with_delta(before, share * (after.double() - before.double()))


def _tied(parameters: Mapping[str, torch.nn.Parameter]) -> Iterator[list[str]]:
    """Gives the names of each parameter that is one under several names."""
    groups: dict[int, list[str]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(id(parameter), []).append(name)
    return (names for names in groups.values() if len(names) > 1)


def _follow(parameters: Mapping[str, torch.nn.Parameter], made: dict[str, torch.Tensor], adapter: Adapter) -> None:
    """Changes rows of a tied output layer with those of its embedding, which PEFT trains as one and saves once."""
    for names in _tied(parameters):
        for name in names:
            if list(adapter.parts.get(name.removesuffix(".weight"), ())) == ["trainable_tokens_delta"]:
                made |= {other: made[name] for other in names if other not in made}


def _going_apart(parameters: Mapping[str, torch.nn.Parameter], made: Mapping[str, torch.Tensor]) -> list[str]:
    """Returns the names of a parameter that is one in the model and no longer would be after the merge."""
    for names in _tied(parameters):
        values = [made.get(name) for name in names]
        changed = [value for value in values if value is not None]
        if changed and (len(changed) < len(values) or not all(torch.equal(changed[0], other) for other in changed)):
            return names
    return []
