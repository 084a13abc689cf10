"""What a verification says, line by line."""

from dataclasses import dataclass

from .serialization import Record


SAME, DIFFERENT, NOT_AVAILABLE = "same", "different", "not available"


@dataclass(frozen=True)
class Check(Record):
    """
    One line of a verification.

    Args:
        part (`str`): `"output"`, `"report"`, `"signature"`, `"suspect"`, `"pretrained"`, `"fisher"`,
            `"mixed tensor"`, `"reset rows"`, `"configuration"` or `"fine-tuning"`.
        item (`str`): The file, tensor or figure.
        status (`str`): `"same"`, `"different"` or `"not available"`.
        note (`str`): What there is to say about it.
        distance (`float`, *optional*):
            For weights that were fine-tuned again: how far they are from the published ones, as a share of the way
            that the fine-tuning took (Euclidean norms over all parameters).
    """

    part: str
    item: str
    status: str
    note: str = ""
    distance: float | None = None


@dataclass(frozen=True)
class Verification(Record):
    """
    What a verification found.

    Args:
        source (`str`): The model: Hub id and commit, or folder name.
        checks (`tuple[Check, ...]`): All lines.
        settings (`str`): What the manifest says was done, in a few words.
        fine_tuned (`bool`): Whether the manifest says that the weights changed after the mixing.
        moved (`float`, *optional*):
            How far they did, as a share of the distance between suspect and pretrained weights (Euclidean norms over
            the mixed tensors); `None` if that could not be computed.
    """

    source: str
    checks: tuple[Check, ...]
    settings: str
    fine_tuned: bool
    moved: float | None = None

    def count(self, status: str) -> int:
        """Returns the number of lines of a status."""
        return sum(check.status == status for check in self.checks)

    def failed(self, strict: bool = False) -> bool:
        """Tells whether something is different or, if `strict`, not available."""
        return bool(self.count(DIFFERENT) or (strict and self.count(NOT_AVAILABLE)))
