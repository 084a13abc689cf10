"""The results of a bench: all suspects and cells of a folder, and their view as a table of pandas."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError
from ..rates import Rate
from ..report import Evaluation
from ..serialization import read_json
from .records import CellRecord, SuspectRecord


if TYPE_CHECKING:
    import pandas as pd


CONFIG_FILE = "config.json"
SUSPECTS, CELLS, MODELS = "suspects", "cells", "models"
_R = TypeVar("_R", SuspectRecord, CellRecord)


@dataclass(frozen=True)
class Results:
    """
    What a bench measured.

    Args:
        config (`dict[str, Any]`): The configuration, with every default spelt out.
        suspects (`tuple[SuspectRecord, ...]`): The suspects, failed ones included.
        cells (`tuple[CellRecord, ...]`): The cells, failed ones included.
        missing (`tuple[str, ...]`): Ids of the cells of the configuration that have no result yet.
    """

    config: dict[str, Any]
    suspects: tuple[SuspectRecord, ...]
    cells: tuple[CellRecord, ...]
    missing: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: str | Path) -> "Results":
        """
        Reads the folder of a bench, finished or not.

        Cells and suspects of earlier configurations of the folder are read too, unless they failed: nobody will try
        them again.

        Raises:
            InputError: If it is no such folder, or a file in it is damaged.
        """
        folder = Path(folder)
        config = read_config(folder)
        suspects = read_records(folder / SUSPECTS, SuspectRecord)
        cells = read_records(folder / CELLS, CellRecord)
        return cls(
            config,
            *(
                tuple(record for name, record in found.items() if record.error is None or name in config[kind])
                for kind, found in ((SUSPECTS, suspects), (CELLS, cells))
            ),
            missing=tuple(name for name in config[CELLS] if name not in cells),
        )

    @property
    def failures(self) -> tuple[SuspectRecord | CellRecord, ...]:
        """The suspects and cells that failed."""
        return tuple(record for record in (*self.suspects, *self.cells) if record.error is not None)

    def suspect(self, cell: CellRecord) -> SuspectRecord | None:
        """Returns the suspect that a cell is about."""
        return self._find(cell, [s for s in self.suspects if _key(s) == _key(cell)])

    @staticmethod
    def _find(cell: CellRecord, suspects: list[SuspectRecord]) -> SuspectRecord | None:
        # Attacks of one label come from different configurations in one folder; their triggers tell them apart.
        wanted = None if not cell.candidates else _triggers(cell.candidates[0].evaluation)
        fitting = [s for s in suspects if wanted is None or s.evaluation is None or _triggers(s.evaluation) == wanted]
        return next(iter(fitting), None)

    def to_pandas(self) -> "pd.DataFrame":
        """
        Returns one row for each cell, setting and trigger.

        Columns: what the cell is (`task`, `model`, `attack`, `seed`, `defense`, `e_pur`, `clean_examples`), the
        `setting` as text, whether it was `chosen`, the `trigger`, and the rates `validation`, `acc`, `asr`, `ra` and
        `flip_rate` with the ends of their 95 % Wilson intervals (`acc_low`, `acc_high`, ...), all from 0 to 1; the
        same of the clean model as `baseline_acc`, `baseline_asr` and `baseline_flip_rate`. Failed cells have no row.
        """
        import pandas as pd

        return pd.DataFrame(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        suspects: dict[tuple, list[SuspectRecord]] = {}
        for record in self.suspects:
            suspects.setdefault(_key(record), []).append(record)
        for cell in self.cells:
            suspect = self._find(cell, suspects.get(_key(cell), []))
            for number, candidate in enumerate(cell.candidates):
                baseline = None if suspect is None else suspect.baseline
                for place, trigger in enumerate(candidate.evaluation.triggers):
                    yield {
                        "task": cell.task,
                        "model": cell.model,
                        "attack": cell.attack,
                        "seed": cell.seed,
                        "defense": cell.defense,
                        "e_pur": cell.e_pur,
                        "clean_examples": cell.clean_examples,
                        "setting": ", ".join(f"{name} {value:g}" for name, value in candidate.setting.items()),
                        "chosen": number == cell.chosen,
                        "trigger": trigger.trigger,
                        **_columns("validation", candidate.validation),
                        **_columns("acc", candidate.evaluation.accuracy),
                        **_columns("asr", trigger.asr),
                        **_columns("ra", trigger.ra),
                        **_columns("flip_rate", trigger.flip_rate),
                        **_baseline(baseline, place),
                    }


def read_records(folder: Path, kind: type[_R]) -> dict[str, _R]:
    """
    Reads the records of a folder, each under its id.

    Raises:
        InputError: If one is damaged.
    """
    return {path.stem: read_json(path, kind.from_dict) for path in sorted(folder.glob("*.json"))}


def read_config(folder: Path) -> dict[str, Any]:
    """
    Reads the configuration of a bench's folder.

    Raises:
        InputError: If there is none, or it is damaged, or that of something else.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise InputError(f"{str(folder)!r} has no {CONFIG_FILE}; give the output folder of `hf-finemix bench`.")
    found = read_json(path, dict)
    # A model's folder has a file of this name, too.
    if "grids" not in found or not all(isinstance(found.get(kind), list) for kind in (SUSPECTS, CELLS)):
        raise InputError(
            f"{str(path)!r} is no configuration of a bench; name a new folder, or one of an earlier bench."
        )
    return found


def _key(record: SuspectRecord | CellRecord) -> tuple[str, str, str, int]:
    return record.task, record.model, record.attack, record.seed


def _triggers(evaluation: Evaluation) -> list[tuple[str, str, int, int]]:
    return [(item.trigger, item.position, item.target_label, item.seed) for item in evaluation.triggers]


def _columns(name: str, rate: Rate) -> dict[str, float | int | None]:
    return {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high, f"{name}_n": rate.n}


def _baseline(baseline: Evaluation | None, place: int) -> dict[str, float | None]:
    if baseline is None:
        return dict.fromkeys(("baseline_acc", "baseline_asr", "baseline_flip_rate"))
    trigger = baseline.triggers[place]
    return {
        "baseline_acc": baseline.accuracy.value,
        "baseline_asr": trigger.asr.value,
        "baseline_flip_rate": trigger.flip_rate.value,
    }
