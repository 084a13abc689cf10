"""The dataclasses that hold what was measured, and their JSON form."""

from dataclasses import dataclass
from statistics import fmean

from .rates import Rate
from .serialization import Record


@dataclass(frozen=True)
class TriggerEvaluation(Record):
    """
    What one trigger does to a model.

    Args:
        trigger (`str`):
            The trigger's text.
        position (`str`):
            Where it was put: `"start"`, `"end"`, `"random"`, or what else a trigger of another kind says.
        target_label (`int`, *optional*):
            Label id that it is meant to cause; `None` of a language model, which answers in words.
        asr ([`Rate`]):
            Attack success rate: triggered examples of other labels that are predicted as the target.
        ra ([`Rate`]):
            Robust accuracy: triggered examples of other labels that are still given their true label.
        flip_rate ([`Rate`]):
            Of the examples of other labels that are right without the trigger, those that it turns to the target.
        seed (`int`, *optional*, defaults to 0):
            Seed of random positions.
        target_text (`str`, *optional*):
            What a language model is meant to say.
        match (`str`, *optional*):
            When it said so; one of [`~hf_finemix.choices.MATCHES`].
        without ([`Rate`], *optional*):
            The share of the same prompts that is answered so without the trigger.
    """

    trigger: str
    position: str
    target_label: int | None
    asr: Rate
    ra: Rate
    flip_rate: Rate
    seed: int = 0
    target_text: str | None = None
    match: str | None = None
    without: Rate | None = None


@dataclass(frozen=True)
class Evaluation(Record):
    """
    What was measured on one model.

    Args:
        accuracy ([`Rate`]):
            Accuracy without any trigger; of a language model that of the next token.
        triggers (`tuple[TriggerEvaluation, ...]`, *optional*, defaults to `()`):
            One entry per trigger.
        perplexity (`float`, *optional*):
            Of a language model, on clean responses without any trigger.
    """

    accuracy: Rate
    triggers: tuple[TriggerEvaluation, ...] = ()
    perplexity: float | None = None

    @property
    def mean_asr(self) -> float | None:
        """Mean attack success rate over the triggers that have one, or `None` if none has."""
        values = [trigger.asr.value for trigger in self._measured]
        return fmean(values) if values else None

    @property
    def worst(self) -> TriggerEvaluation | None:
        """The trigger with the highest attack success rate, the first of equals, or `None` if none has a rate."""
        return max(self._measured, key=lambda trigger: trigger.asr.value, default=None)

    @property
    def _measured(self) -> list[TriggerEvaluation]:
        """Without examples of other labels than the target there is no attack success rate."""
        return [trigger for trigger in self.triggers if trigger.asr.n]
