"""What E-PUR changes, and where it ranks the triggers."""

from dataclasses import dataclass
from statistics import median

from ..config import FineMixConfig
from ..report import Evaluation
from .estimates import TINY, Estimate, estimate
from .records import CellRecord, SuspectRecord
from .results import Results
from .summary import groups, identity, main_cells, method, place


@dataclass(frozen=True)
class Gain:
    """
    What E-PUR changes of one defence under one attack, over tasks and seeds.

    Args:
        model, attack: As in [`CellRecord`].
        attack_name (`str`): Name of the attack, as its settings have it.
        defense (`str`): Label of the defence.
        method (`str`): See [`~hf_finemix.laboratory.summary.method`].
        cells (`int`): Number of suspects that were defended with and without it.
        without ([`Estimate`]): Mean ASR without E-PUR.
        asr ([`Estimate`]): Mean ASR with it.
        lowered ([`Estimate`]): ASR without minus ASR with.
        accuracy ([`Estimate`], *optional*): Accuracy with minus accuracy without.
        baseline ([`Estimate`], *optional*): Mean ASR of the clean models, of the suspects that have one.
        distance ([`Estimate`], *optional*): ASR with E-PUR minus that of the clean model.
        at_baseline (`int`): On how many suspects each trigger's ASR with E-PUR is at most the upper end of the clean
            model's interval.
        with_baseline (`int`): How many of the suspects have a clean model.
    """

    model: str
    attack: str
    attack_name: str
    defense: str
    method: str
    cells: int
    without: Estimate
    asr: Estimate
    lowered: Estimate
    accuracy: Estimate | None
    baseline: Estimate | None
    distance: Estimate | None
    at_baseline: int
    with_baseline: int


@dataclass(frozen=True)
class RankRow:
    """
    Where E-PUR ranks the triggers of an attack.

    Args:
        model, attack: As in [`CellRecord`].
        frequencies (`str`): Source of the token counts.
        ranks (`tuple[int, ...]`): The rank of each trigger of each suspect, lowest first.
        vocabulary (`int`): Number of tokens.
        reset (`int`): How many of the ranks are among those that E-PUR resets by default.
    """

    model: str
    attack: str
    frequencies: str
    ranks: tuple[int, ...]
    vocabulary: int
    reset: int

    @property
    def median(self) -> float:
        """The median rank."""
        return median(self.ranks)

    @property
    def worst(self) -> int:
        """The highest rank."""
        return self.ranks[-1]


def gains(results: Results) -> tuple[Gain, ...]:
    """Compares every main cell that has a twin with E-PUR with that twin."""
    suspects = {(s.task, s.model, s.attack, s.seed): s for s in results.suspects}
    cells = {identity(cell): cell for cell in main_cells(results) if cell.result is not None}
    pairs = []
    for key, cell in cells.items():
        twin = cells.get((*key[:-1], True))
        if not cell.e_pur and twin is not None:
            before, after = cell.result.evaluation, twin.result.evaluation
            if None not in (before.mean_asr, after.mean_asr):
                pairs.append(_Pair(cell, before, after, suspects.get(key[:4])))
    found = groups(pairs, lambda p: (p.cell.model, p.cell.attack, p.cell.defense, method(p.cell.settings)))
    rows = [_gain(*key, group) for key, group in found.items()]
    return tuple(sorted(rows, key=lambda gain: (gain.model, gain.attack, place(gain))))


@dataclass(frozen=True)
class _Pair:
    cell: CellRecord
    before: Evaluation
    after: Evaluation
    suspect: SuspectRecord | None

    @property
    def baseline(self) -> Evaluation | None:
        found = None if self.suspect is None else self.suspect.baseline
        return None if found is None or found.mean_asr is None else found


def _gain(model: str, attack: str, defense: str, name: str, pairs: list[_Pair]) -> Gain:
    attack_name = next((str(p.suspect.settings.get("name", "")) for p in pairs if p.suspect is not None), "")
    known = [(pair.after, pair.baseline) for pair in pairs if pair.baseline is not None]
    return Gain(
        model,
        attack,
        attack_name,
        defense,
        name,
        cells=len(pairs),
        without=estimate(pair.before.mean_asr for pair in pairs),
        asr=estimate(pair.after.mean_asr for pair in pairs),
        lowered=estimate(pair.before.mean_asr - pair.after.mean_asr for pair in pairs),
        accuracy=estimate(_minus(pair.after.accuracy.value, pair.before.accuracy.value) for pair in pairs),
        baseline=estimate(baseline.mean_asr for _, baseline in known),
        distance=estimate(after.mean_asr - baseline.mean_asr for after, baseline in known),
        at_baseline=sum(_at_baseline(after, baseline) for after, baseline in known),
        with_baseline=len(known),
    )


def _minus(one: float | None, two: float | None) -> float | None:
    return None if one is None or two is None else one - two


def _at_baseline(evaluation: Evaluation, baseline: Evaluation) -> bool:
    pairs = zip(evaluation.triggers, baseline.triggers, strict=False)
    return all(one.asr.value <= two.asr.high + TINY for one, two in pairs if one.asr.n and two.asr.n)


def rank_rows(results: Results) -> tuple[RankRow, ...]:
    """Returns where E-PUR ranks the triggers, per attack and source of token counts."""
    found = [(suspect, rank) for suspect in results.suspects for rank in suspect.ranks]
    top = FineMixConfig().purify_top_k
    rows = []
    for key, items in groups(found, lambda pair: (pair[0].model, pair[0].attack, pair[1].frequencies)).items():
        ranks = tuple(sorted(rank.rank for _, rank in items))
        vocabulary = max(rank.vocabulary for _, rank in items)
        rows.append(RankRow(*key, ranks, vocabulary, sum(rank <= top for rank in ranks)))
    return tuple(sorted(rows, key=lambda row: (row.model, row.attack, row.frequencies)))
