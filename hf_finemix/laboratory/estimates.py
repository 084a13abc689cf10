"""Figures over several seeds: mean and spread, or the Wilson interval of a single rate."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ..rates import Rate
from ..report import Evaluation


# Rounding must not decide what is lower, or whether a floor is reached.
TINY = 1e-9


@dataclass(frozen=True)
class Estimate:
    """
    A share, measured with one seed or several.

    Args:
        value (`float`): The share, or its mean over the seeds.
        n (`int`): Number of samples, one a seed if nothing else is said.
        sd (`float`, *optional*): Sample standard deviation, if there are several.
        low (`float`, *optional*): Lower end of the 95 % Wilson interval, if it is one rate of one seed.
        high (`float`, *optional*): Upper end.
    """

    value: float
    n: int
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval, or one standard deviation to each side; `None` if neither is known."""
        if self.sd is not None:
            return self.value - self.sd, self.value + self.sd
        return None if self.low is None else (self.low, self.high)


def estimate(samples: Iterable[Rate | float | None]) -> Estimate | None:
    """
    Sums up one sample a seed.

    Args:
        samples (iterable of [`Rate`], `float` or `None`): `None` and rates without examples are left out.

    Returns:
        [`Estimate`], *optional*: `None` if no sample is left. Several: mean and spread. One: a rate keeps its
        interval; a number, such as a mean over triggers that share their examples, has none.
    """
    kept = [sample for sample in samples if _value(sample) is not None]
    if not kept:
        return None
    if len(kept) > 1:
        values = [_value(sample) for sample in kept]
        return Estimate(fmean(values), len(values), stdev(values))
    only = kept[0]
    return Estimate(only.value, 1, None, only.low, only.high) if isinstance(only, Rate) else Estimate(only, 1)


def grid_mean(values: Mapping[Hashable, Mapping[int, float | None]]) -> Estimate | None:
    """
    Averages over tasks and attacks, each of which counts the same, however many seeds it has.

    Args:
        values (`Mapping`): For each task and attack the value of each seed; `None` where there is none.

    Returns:
        [`Estimate`], *optional*: The mean; spread and number of seeds are of the means of those seeds that have a
        value everywhere. `None` without any value.
    """
    known = [{seed: value for seed, value in seeds.items() if value is not None} for seeds in values.values()]
    known = [seeds for seeds in known if seeds]
    if not known:
        return None
    mean = fmean(fmean(seeds.values()) for seeds in known)
    everywhere = sorted(set.intersection(*map(set, known)))
    if len(everywhere) < 2:
        return Estimate(mean, max(1, len(everywhere)))
    means = [fmean(seeds[seed] for seeds in known) for seed in everywhere]
    return Estimate(mean, len(means), stdev(means))


@dataclass(frozen=True)
class TriggerFigure:
    """
    What one of an attack's triggers does.

    Args:
        trigger (`str`): The trigger.
        position (`str`): Where it was put.
        asr ([`Estimate`], *optional*): Its attack success rate.
    """

    trigger: str
    position: str
    asr: Estimate | None


@dataclass(frozen=True)
class Figures:
    """
    The figures of a model over the seeds; those of several triggers are means over them.

    Args:
        accuracy ([`Estimate`], *optional*): Accuracy without a trigger.
        asr ([`Estimate`], *optional*): Attack success rate; `None` without examples of other labels than the target.
        worst ([`Estimate`], *optional*): That of each seed's worst trigger.
        flip_rate ([`Estimate`], *optional*): Flip rate.
        ra ([`Estimate`], *optional*): Robust accuracy.
        triggers (`tuple[TriggerFigure, ...]`): Each trigger by itself.
    """

    accuracy: Estimate | None
    asr: Estimate | None
    worst: Estimate | None
    flip_rate: Estimate | None
    ra: Estimate | None
    triggers: tuple[TriggerFigure, ...]

    @classmethod
    def of(cls, evaluations: Sequence[Evaluation]) -> "Figures":
        """Sums up one evaluation a seed."""
        worst = [None if item.worst is None else item.worst.asr for item in evaluations]
        triggers = {}
        for item in evaluations:
            for trigger in item.triggers:
                triggers.setdefault((trigger.trigger, trigger.position), []).append(trigger.asr)
        return cls(
            estimate(item.accuracy for item in evaluations),
            estimate(over_triggers(item, "asr") for item in evaluations),
            estimate(worst),
            estimate(over_triggers(item, "flip_rate") for item in evaluations),
            estimate(over_triggers(item, "ra") for item in evaluations),
            tuple(TriggerFigure(*key, estimate(rates)) for key, rates in triggers.items()),
        )


def over_triggers(evaluation: Evaluation, name: str) -> Rate | float | None:
    """Returns the one trigger's rate of that name, or the mean over several triggers that have one."""
    rates = [rate for trigger in evaluation.triggers if (rate := getattr(trigger, name)).n]
    if len(rates) < 2:
        return rates[0] if rates else None
    return fmean(rate.value for rate in rates)


def _value(sample: Rate | float | None) -> float | None:
    return sample.value if isinstance(sample, Rate) else sample
