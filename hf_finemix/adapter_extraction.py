"""An adapter made again of what a model differs from its base in, and what such an adapter cannot hold."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .adapter_merging import low_rank_factors
from .adapters import ADAPTER_FILE
from .checks import check_finite, check_model
from .config import check_integer
from .errors import InputError
from .output import check_output, staged_folder
from .plan import canonical_name
from .twin import Pretrained, load_twin, unwrap


_TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}


@dataclass(frozen=True)
class Extraction:
    """
    What an adapter holds of a model.

    Args:
        modules (`tuple[str, ...]`): Modules with a low-rank change.
        whole (`tuple[str, ...]`): Modules that are stored whole: those without a pretrained counterpart, the head.
        left_out (`tuple[str, ...]`): Parameters that changed, too, and that the adapter does not hold.
        residual (`float`): Share of the change that is lost: the Euclidean norm of what the adapter does not hold over
            that of the whole change, both over all parameters with a pretrained counterpart.
    """

    modules: tuple[str, ...]
    whole: tuple[str, ...]
    left_out: tuple[str, ...]
    residual: float


@torch.no_grad()
def extract_adapter(
    model: PreTrainedModel, pretrained: Pretrained, output: str | Path, rank: int, base_name: str | None = None
) -> Extraction:
    """
    Writes a LoRA adapter that comes as near to a model as its rank allows, by truncated SVD of each matrix's change.

    A random mask makes any change one of full rank: what is lost is stated, and the adapter has to be measured anew.

    Args:
        model ([`~transformers.PreTrainedModel`]): The model, mixed or not.
        pretrained (`str`, `Path` or [`~transformers.PreTrainedModel`]): Its base.
        output (`str` or `Path`): Folder to make. It appears whole or not at all.
        rank (`int`): Rank of each change.
        base_name (`str`, *optional*): What the adapter names as its base; by default the base's Hub id or folder name.

    Raises:
        InputError: If the base does not fit, the task is not one that PEFT knows, or nothing changed.
    """
    check_integer("rank", rank, 1)
    target = check_output(output, "`output`")
    model = unwrap(model)
    check_model(model)
    check_finite(model.named_parameters(), "model")
    task = next((kind for end, kind in _TASKS.items() if type(model).__name__.endswith(end)), None)
    if task is None:
        raise InputError(f"`model` is a {type(model).__name__}, for whose task PEFT has no name.")
    twin = load_twin(model, pretrained)
    stored: dict[str, torch.Tensor] = {}
    modules, whole, left_out, lost, changed = [], {}, [], 0.0, 0.0
    homes = {
        canonical_name(f"{name}.{part}" if name else part): (name, module)
        for name, module in model.named_modules()
        for part, _ in module.named_parameters(recurse=False)
    }
    for raw, parameter in model.named_parameters():
        name = canonical_name(raw)
        home, module = homes[name]
        base = twin.tensors.get(name)
        if base is None:
            whole[home] = None
            stored[name] = parameter.detach().contiguous()
            continue
        delta = parameter.detach().double() - base.double()
        square = float(delta.square().sum())
        if not square:
            continue
        changed += square
        if not isinstance(module, (nn.Linear, Conv1D)) or not name.endswith(".weight"):
            left_out.append(name)
            lost += square
            continue
        delta = delta.T if isinstance(module, Conv1D) else delta
        up, down = (factor.to(parameter.dtype) for factor in low_rank_factors(delta, rank))
        lost += float((delta - up.double() @ down.double()).square().sum())
        modules.append(home)
        stored[f"{home}.lora_A.weight"], stored[f"{home}.lora_B.weight"] = down.contiguous(), up.contiguous()
    if not modules:
        raise InputError("`model` differs from `pretrained` in no matrix; there is no adapter to make.")
    ranks = {module: stored[f"{module}.lora_A.weight"].shape[0] for module in modules}
    config = LoraConfig(
        task_type=task,
        r=rank,
        lora_alpha=rank,
        # Where a matrix is too small for the rank, the scale stays one.
        rank_pattern={module: found for module, found in ranks.items() if found != rank},
        alpha_pattern={module: found for module, found in ranks.items() if found != rank},
        target_modules=modules,
        modules_to_save=list(whole) or None,
        fan_in_fan_out=any(isinstance(model.get_submodule(module), Conv1D) for module in modules),
        base_model_name_or_path=base_name or twin.source,
        inference_mode=True,
    )
    with staged_folder(target) as folder:
        config.save_pretrained(folder)
        tensors = {f"base_model.model.{name}": tensor for name, tensor in stored.items()}
        save_file(tensors, folder / ADAPTER_FILE, metadata={"format": "pt"})
    return Extraction(tuple(modules), tuple(whole), tuple(left_out), math.sqrt(lost / changed))
