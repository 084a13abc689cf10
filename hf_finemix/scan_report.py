"""What a scan found, and its JSON form."""

from dataclasses import dataclass, field

from .heads import Head
from .outliers import Outlier
from .prescan import StrangeFile
from .records import ScannedGroup
from .serialization import Record
from .trigger_search import Insertion


@dataclass(frozen=True)
class ScannedToken(Record):
    """
    One token of the ranking.

    Args:
        rank (`int`): Place in the ranking, from 1.
        token (`str`): Its text.
        id (`int`): Its id.
        score (`float`): Its E-PUR score.
        deviation (`float`): How far the score lies above the median of all tokens that moved, in robust standard
            deviations (1.4826 times the median absolute deviation).
    """

    rank: int
    token: str
    id: int
    score: float
    deviation: float


@dataclass(frozen=True)
class ScanReport(Record):
    """
    What a scan found.

    Args:
        suspect (`str`): The suspect.
        pretrained (`str`): The base.
        finding (`str`): `"low"`, `"medium"` or `"high"`, by the prominence and by the insertions. A trigger made of
            common words, or one that lives in the encoder alone, can stay `"low"`.
        prominence (`float`): Score of the first token over the median score of the next 19, at most 1,000.
        tokens (`tuple[ScannedToken, ...]`): Most suspicious first.
        layers (`tuple[ScannedGroup, ...]`): Embeddings, each layer's modules, and the rest.
        frequencies (`str`): Source of the token counts.
        outliers (`tuple[Outlier, ...]`): Rows, columns and scalars that moved farthest out of line.
        head (`Head`, *optional*): The classification head, if there is one.
        absent (`dict[str, str]`): Tensors without a pretrained counterpart, with the reason.
        labels (`tuple[str, ...]`): Names of the suspect's labels, in the order of their ids.
        texts (`int`): Number of clean texts that tokens were inserted into.
        insertions (`tuple[Insertion, ...]`): What that did, best first; empty without texts.
        strange_files (`tuple[StrangeFile, ...]`, *optional*): Pickles beside the weights that a scanner warns of;
            `None` if none was asked. They say nothing of the weights, and do not change the finding.
    """

    suspect: str
    pretrained: str
    finding: str
    prominence: float
    tokens: tuple[ScannedToken, ...]
    layers: tuple[ScannedGroup, ...]
    frequencies: str
    outliers: tuple[Outlier, ...] = ()
    head: Head | None = None
    absent: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    texts: int = 0
    insertions: tuple[Insertion, ...] = ()
    strange_files: tuple[StrangeFile, ...] | None = None

    def sentence(self, insertion: Insertion) -> str:
        """Returns what an insertion does: "Inserting `cf` flips 97 % of the examples to label 1 (positive)"."""
        label = self.labels[insertion.label] if insertion.label < len(self.labels) else None
        named = f"label {insertion.label}" + (f" ({label})" if label is not None else "")
        share = f"{100 * (insertion.flips.value or 0):.0f} %"
        return f"Inserting `{token_text(insertion.token, insertion.id)}` flips {share} of the examples to {named}"


def token_text(token: str | None, number: int) -> str:
    """Returns a token's text; an embedding may have more rows than the tokenizer has tokens."""
    return token if token is not None else f"<row {number}>"
