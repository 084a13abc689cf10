"""Maximum entropy: the suspect first unlearns to tell anything apart."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from ..config import check_integer
from ..errors import InputError
from ..training import LossTrainer, fine_tune
from .base import DefenderView, Defense, Setting, register_defense


@register_defense
@dataclass(frozen=True)
class MaxEntropy(Defense):
    """
    Trains the suspect towards equal probabilities of all labels on the clean examples, then fine-tunes it.

    After "Maximum Entropy Loss, the Silver Bullet Targeting Backdoor Attacks in Pre-trained Language Models" (Liu et
    al., Findings of ACL 2023). The first training looks at no label; it takes the settings of the second, except for
    the number of epochs, and that is ours.

    Args:
        entropy_epochs (`tuple[int, ...]`, *optional*, defaults to `(8, 4, 2)`):
            Epochs of the first training; the largest number that keeps accuracy is chosen.

    Raises:
        InputError: If there is no number, or one is below 1.
    """

    name: ClassVar[str] = "max_entropy"

    entropy_epochs: tuple[int, ...] = (8, 4, 2)

    def __post_init__(self):
        super().__post_init__()
        # YAML knows lists alone.
        if isinstance(self.entropy_epochs, list):
            object.__setattr__(self, "entropy_epochs", tuple(self.entropy_epochs))
        epochs = self.entropy_epochs
        if not isinstance(epochs, tuple) or not epochs or len(set(epochs)) < len(epochs):
            raise InputError(f"`entropy_epochs` is {epochs!r}, but must be a list of different numbers of epochs.")
        for number in epochs:
            check_integer("entropy_epochs", number, 1)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """One setting for each number of epochs, the largest first."""
        return tuple({"entropy_epochs": number} for number in sorted(self.entropy_epochs, reverse=True))

    def fine_tune(self, model: PreTrainedModel, view: DefenderView, setting: Setting) -> None:
        """Trains towards equal probabilities, then on the labels."""
        recipe = replace(view.recipe, epochs=setting["entropy_epochs"])
        options = {"trainer_class": LossTrainer, "loss": uniform_cross_entropy, "progress": view.progress}
        fine_tune(model, view.tokenizer, view.clean, recipe, **options)
        super().fine_tune(model, view, setting)


def uniform_cross_entropy(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Returns the mean cross-entropy between the uniform distribution and a classifier's probabilities.

    It is least, the logarithm of the number of labels, where the classifier's entropy is greatest.

    Args:
        model ([`~transformers.PreTrainedModel`]): The classifier.
        inputs (`dict[str, torch.Tensor]`): Its inputs; `labels` are left out.
    """
    logits = model(**{name: tensor for name, tensor in inputs.items() if name != "labels"}).logits
    return -logits.log_softmax(dim=-1).mean()
