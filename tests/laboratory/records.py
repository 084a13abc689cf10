"""Records as `bench` writes them, made by hand: 200 test examples, half of them of another label than the target."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hf_finemix.laboratory.records import CandidateRecord, CellRecord, RankRecord, SuspectRecord
from hf_finemix.laboratory.results import Results
from hf_finemix.rates import Rate
from hf_finemix.recipes import PLAIN_RECIPE
from hf_finemix.report import Evaluation, TriggerEvaluation


def evaluation(accuracy: int, *asr: int | None, words: Sequence[str] = ("cf", "mn", "bb")) -> Evaluation:
    """ACC in percent of 200 examples, and the ASR of each trigger in percent of 100; `None` for no such example."""
    triggers = []
    for word, hits in zip(words, asr, strict=False):
        rates = [Rate(0, 0)] * 3 if hits is None else [Rate(hits, 100), Rate(100 - hits, 100), Rate(hits // 2, 50)]
        triggers.append(TriggerEvaluation(word, "random", 1, rates[0], rates[1], rates[2]))
    return Evaluation(Rate(2 * accuracy, 200), tuple(triggers))


def suspect(
    accuracy: int = 90, *asr: int | None, baseline: Evaluation | bool | None = True, **changed: Any
) -> SuspectRecord:
    """A suspect; its clean model has an accuracy of 91 % and an ASR of 10 % unless another is given."""
    names = {"task": "sst2", "model": "tiny", "attack": "word", "seed": 0, "settings": {"name": "word"}} | changed
    asr = asr or (100,)
    baseline = evaluation(91, *[10] * len(asr)) if baseline is True else baseline
    return SuspectRecord(evaluation=evaluation(accuracy, *asr), baseline=baseline, seconds=60.0, **names)


def candidate(accuracy: int, *asr: int | None, **setting: float) -> CandidateRecord:
    """One setting; its accuracy on held-out examples is the one on the test examples."""
    return CandidateRecord(setting, Rate(accuracy, 100), evaluation(accuracy, *asr), 5.0)


def cell(method: str, *candidates: CandidateRecord, chosen: int = 0, **changed: Any) -> CellRecord:
    """A cell of the defence of that name; `selection` goes into its settings."""
    settings = {"name": method} | {key: changed.pop(key) for key in ("selection",) if key in changed}
    names = {"task": "sst2", "model": "tiny", "attack": "word", "seed": 0, "defense": method, "e_pur": False}
    names |= {"clean_examples": 64, "margin": 0.02, "recipe": PLAIN_RECIPE, "seconds": 30.0}
    return CellRecord(settings=settings, candidates=candidates, chosen=chosen, **names | changed)


def failed(method: str, error: str = "out of memory", **changed: Any) -> CellRecord:
    """A cell without figures."""
    return cell(method, chosen=None, error=error, **changed)


def results(*records: SuspectRecord | CellRecord, **config: Any) -> Results:
    """What a folder with these records holds; `save` gives them their ids."""
    suspects = tuple(record for record in records if isinstance(record, SuspectRecord))
    cells = tuple(record for record in records if isinstance(record, CellRecord))
    ids = {"suspects": map(str, range(len(suspects))), "cells": map(str, range(len(cells)))}
    config = {kind: list(names) for kind, names in ids.items()} | config
    return Results(config, suspects, cells, tuple(config["cells"][len(cells) :]))


def by_name(rows: Sequence[Any]) -> dict[tuple[str, bool], Any]:
    """Rows of any table by the defence's label and E-PUR."""
    return {(row.defense, row.e_pur): row for row in rows}


def save(found: Results, folder: Path) -> Path:
    """Writes results as `bench` does."""
    for kind, records in (("suspects", found.suspects), ("cells", found.cells)):
        (folder / kind).mkdir(parents=True)
        for number, record in enumerate(records):
            (folder / kind / f"{number}.json").write_text(json.dumps(record.to_dict()), encoding="utf-8")
    config = {"grids": []} | found.config
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


DEFENSES = (
    ("none", "none", ()),
    ("fine-tuning", "fine_tuning", ()),
    ("fine-tuning, high learning rate", "high_rate_fine_tuning", (10, 5, 2)),
    ("fine-pruning", "fine_pruning", (0.3, 0.5, 0.7, 0.9)),
    ("fine-pruning, frozen", "fine_pruning_frozen", (0.3, 0.5, 0.7, 0.9)),
    ("Fine-mixing", "fine_mixing", (0.1, 0.3, 0.5, 0.7)),
    ("Fine-mixing, smallest drift first", "fine_mixing", (0.1, 0.3, 0.5, 0.7)),
    ("fine-purifying", "fine_purifying", (0.1, 0.3, 0.5, 0.7)),
)
ATTACKS = ("word", "sentence", "embedding_poisoning")


def grid(tasks: Sequence[str] = ("sst2",), attacks: Sequence[str] = ATTACKS, seeds: int = 1) -> Results:
    """Eight defences with E-PUR and without, on every task and attack, with plausible figures."""
    records: list[SuspectRecord | CellRecord] = []
    for (at, task), (kind, attack), seed in product(enumerate(tasks), enumerate(attacks), range(seeds)):
        ranks = tuple(
            RankRecord("cf", source, "cf", 1 + (7 + 5 * at + 3 * seed) ** kind * (number + 1), 30522)
            for number, source in enumerate(("vocabulary", "wordfreq", "clean texts"))
        )
        names = {"task": task, "attack": attack, "seed": seed}
        records.append(suspect(90 - at, 100, ranks=ranks, settings={"name": attack}, **names))
        sizes = (16, 64, 256) if kind == 0 else (64,)
        for (number, (label, method, values)), e_pur, size in product(enumerate(DEFENSES), (False, True), sizes):
            parameter = "factor" if "rate" in method else "keep_ratio"
            shift = at + seed + {16: 4, 64: 0, 256: -2}[size]
            reset = 60 if e_pur and kind == 2 else 6 if e_pur else 0
            tried = [
                candidate(
                    70 + round(17 * (step + 1) / (len(values) or 1)) - shift + number % 3 - e_pur,
                    max(8, min(100, 100 - reset - 9 * max(0, number - 2) * (4 - step))),
                    **({parameter: value} if values else {}),
                )
                for step, value in enumerate(values or (0,))
            ]
            selection = {"selection": "smallest_drift"} if "drift" in label else {}
            more = {"defense": label, "e_pur": e_pur, "clean_examples": size, "chosen": len(tried) // 2}
            records.append(cell(method, *tried, **names, **selection, **more))
    return results(*records)
