"""The plan: every parameter of a model with what is done to it and why, before anything is done."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from .config import FineMixConfig
from .errors import InputError
from .masks import MASK_VERSION
from .printing import printable
from .serialization import Record


MIXED, KEPT, COPIED, REFUSED = "mixed", "kept", "copied", "refused"

_WRAPPER = re.compile(r"(^|\.)(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")


@dataclass(frozen=True)
class ParameterRecord(Record):
    """
    What is done to one parameter or buffer.

    Args:
        name (`str`): Canonical name.
        shape (`tuple[int, ...]`): Shape of the tensor.
        action (`str`):
            `"mixed"`, `"kept"` (a parameter that keeps the suspect's values), `"copied"` (a buffer) or `"refused"` (a
            parameter that should have a pretrained counterpart and has none; no model is mixed then).
        reason (`str`): Why, in one phrase.
        kept_scalars (`int`, *optional*): After mixing, how many scalars keep the suspect's value.
    """

    name: str
    shape: tuple[int, ...]
    action: str
    reason: str
    kept_scalars: int | None = None

    @property
    def numel(self) -> int:
        """Number of scalars."""
        product = 1
        for size in self.shape:
            product *= size
        return product


@dataclass(frozen=True)
class MixReport(Record):
    """
    What mixing did, or in a dry run would do, to every parameter.

    Args:
        config (`FineMixConfig`): The settings.
        pretrained (`str`): Where the pretrained weights came from.
        parameters (`tuple[ParameterRecord, ...]`): All parameters and buffers, in the model's order.
        mask_version (`int`): Version of the mask generator.
    """

    config: FineMixConfig
    pretrained: str
    parameters: tuple[ParameterRecord, ...]
    mask_version: int = field(default=MASK_VERSION)

    @property
    def mixed(self) -> tuple[ParameterRecord, ...]:
        """The parameters that are mixed."""
        return tuple(record for record in self.parameters if record.action == MIXED)

    @property
    def refused(self) -> tuple[ParameterRecord, ...]:
        """The parameters for whose want of a counterpart nothing is mixed."""
        return tuple(record for record in self.parameters if record.action == REFUSED)

    @property
    def mixed_scalars(self) -> int:
        """Number of scalars in mixed parameters."""
        return sum(record.numel for record in self.mixed)

    @property
    def kept_share(self) -> float | None:
        """Share of the mixed scalars that keep the suspect's value; `None` before mixing."""
        counts = [record.kept_scalars for record in self.mixed]
        if not self.mixed_scalars or None in counts:
            return None
        return sum(counts) / self.mixed_scalars

    def check(self, source: str | None = None) -> None:
        """
        Checks that nothing is refused.

        Args:
            source (`str`, *optional*): The base, as the user gave it.

        Raises:
            InputError: Names the first parameter that is.
        """
        if not self.refused:
            return
        first, *others = self.refused
        more = f" (and {len(others)} more)" if others else ""
        raise InputError(
            f"`pretrained` {source or self.pretrained!r} does not fit: {first.name} is {first.reason}{more}; give the "
            "weights that the suspect was fine-tuned from, or allow unmatched parameters, which are kept then "
            "(--allow-unmatched)."
        )

    def listing(self) -> str:
        """Returns a line for each parameter and buffer: what is done to it, its shape, its name and the reason."""
        shapes = ["x".join(map(str, record.shape)) or "scalar" for record in self.parameters]
        width = max(map(len, shapes), default=0)
        return "\n".join(
            f"{record.action:<7} {shape:>{width}}  {printable(record.name)}: {record.reason}"
            for shape, record in zip(shapes, self.parameters, strict=True)
        )

    def with_counts(self, kept: Mapping[str, int]) -> "MixReport":
        """Returns the report with the number of kept scalars filled in for each mixed parameter."""
        records = tuple(replace(record, kept_scalars=kept.get(record.name)) for record in self.parameters)
        return replace(self, parameters=records)

    def summary(self) -> str:
        """Returns a few lines of text: scalars by action, and each reason for which parameters are not mixed."""
        scalars, tensors = Counter(), Counter()
        for record in self.parameters:
            key = (record.action, record.reason)
            scalars[key] += record.numel
            tensors[key] += 1
        return "\n".join(
            f"{action:<7} {tensors[action, reason]:>5} tensors {scalars[action, reason]:>14,} scalars  {reason}"
            for action, reason in scalars
        )


def canonical_name(name: str) -> str:
    """Strips the prefixes that wrappers (DDP, FSDP, `torch.compile`, checkpointing) put into parameter names."""
    while True:
        stripped = _WRAPPER.sub("", name).lstrip(".")
        if stripped == name:
            return name
        name = stripped


def plan_mixing(
    parameters: Mapping[str, tuple[int, ...]],
    buffers: Mapping[str, tuple[int, ...]],
    pretrained: Iterable[str],
    absent: Mapping[str, str],
    config: FineMixConfig,
    source: str,
    rows_without: Mapping[str, int] | None = None,
    refused: Iterable[str] = (),
) -> MixReport:
    """
    Decides what happens to each tensor of a model.

    Args:
        parameters (`Mapping[str, tuple[int, ...]]`): Shapes of the model's parameters, tied ones listed once.
        buffers (`Mapping[str, tuple[int, ...]]`): Shapes of the model's buffers.
        pretrained (`Iterable[str]`): Names of the parameters that have a pretrained counterpart.
        absent (`Mapping[str, str]`): For parameters without one, the reason.
        config (`FineMixConfig`): The settings; `exclude` is applied here.
        source (`str`): Where the pretrained weights came from.
        rows_without (`Mapping[str, int]`, *optional*):
            For parameters that have a counterpart for some of their rows, how many others there are.
        refused (`Iterable[str]`, *optional*):
            Parameters without a counterpart that should have one.

    Raises:
        InputError: If an expression of `exclude` matches no parameter.
    """
    pretrained, refused = set(pretrained), set(refused)
    excluded = [re.compile(pattern) for pattern in config.exclude]
    for pattern in excluded:
        if not any(pattern.search(name) for name in parameters):
            raise InputError(
                f"`exclude` holds {pattern.pattern!r}, which matches no parameter; such a typo mixes all."
            )
    records = []
    for name, shape in parameters.items():
        pattern = next((p.pattern for p in excluded if p.search(name)), None)
        if name not in pretrained:
            # What the settings leave as it is needs no counterpart.
            action = REFUSED if name in refused and pattern is None and not config.allow_unmatched else KEPT
            records.append(ParameterRecord(name, shape, action, absent.get(name, "no pretrained counterpart")))
        elif pattern is not None:
            records.append(ParameterRecord(name, shape, KEPT, f"excluded by {pattern!r}"))
        else:
            without = (rows_without or {}).get(name)
            rest = f", but for {without:,} of its rows, which are kept" if without else ""
            records.append(ParameterRecord(name, shape, MIXED, f"has a pretrained counterpart{rest}"))
    records += [ParameterRecord(name, shape, COPIED, "buffer") for name, shape in buffers.items()]
    return MixReport(config, source, tuple(records))
