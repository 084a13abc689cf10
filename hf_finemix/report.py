"""The dataclasses that hold what was measured, and their JSON form."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .rates import Rate


@dataclass(frozen=True)
class TriggerEvaluation:
    """
    What one trigger does to a model.

    Args:
        trigger (`str`):
            The trigger's text.
        position (`str`):
            Where it was put: `"start"`, `"end"` or `"random"`.
        target_label (`int`):
            Label id that it is meant to cause.
        asr ([`Rate`]):
            Attack success rate: triggered examples of other labels that are predicted as the target.
        ra ([`Rate`]):
            Robust accuracy: triggered examples of other labels that are still given their true label.
        flip_rate ([`Rate`]):
            Of the examples of other labels that are right without the trigger, those that it turns to the target.
    """

    trigger: str
    position: str
    target_label: int
    asr: Rate
    ra: Rate
    flip_rate: Rate

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return {
            "trigger": self.trigger,
            "position": self.position,
            "target_label": self.target_label,
            "asr": self.asr.to_dict(),
            "ra": self.ra.to_dict(),
            "flip_rate": self.flip_rate.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "TriggerEvaluation":
        """Rebuilds an evaluation from [`TriggerEvaluation.to_dict`]."""
        rates = {name: Rate.from_dict(fields[name]) for name in ("asr", "ra", "flip_rate")}
        return cls(**{**fields, **rates})


@dataclass(frozen=True)
class Evaluation:
    """
    What was measured on one model.

    Args:
        accuracy ([`Rate`]):
            Accuracy without any trigger.
        triggers (`tuple[TriggerEvaluation, ...]`, *optional*, defaults to `()`):
            One entry per trigger.
    """

    accuracy: Rate
    triggers: tuple[TriggerEvaluation, ...] = ()

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

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "triggers": [trigger.to_dict() for trigger in self.triggers],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Evaluation":
        """Rebuilds an evaluation from [`Evaluation.to_dict`]."""
        triggers = tuple(TriggerEvaluation.from_dict(trigger) for trigger in fields["triggers"])
        return cls(accuracy=Rate.from_dict(fields["accuracy"]), triggers=triggers)
