"""The jobs of a bench: make a clean model, make and measure a suspect, run a cell. Each writes its own file."""

import copy
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from ..attacks.trigger import Trigger
from ..defenses.base import DefenderView
from ..embeddings import rank_rows
from ..errors import reason
from ..evaluation import Predictions, measure, predict
from ..output import replace_text
from ..rates import Rate, accuracy
from ..results import environment
from ..serialization import read_json, to_json
from .executors import Job
from .records import CandidateRecord, CellRecord, RankRecord, SuspectRecord
from .results import CELLS, SUSPECTS
from .specs import CellSpec, CleanSpec, SuspectSpec
from .workshop import Workshop


# Texts without labels that a defence may take, if the task has so many.
_MOST_UNLABELED = 5000
_R = TypeVar("_R", SuspectRecord, CellRecord)


@cache
def open_workshop(folder: Path) -> Workshop:
    """Returns the workshop of a folder, one for the life of the process."""
    return Workshop(folder)


def make_clean_model(folder: Path, spec: CleanSpec) -> None:
    """Trains the clean classifier of a task and keeps it; a failure shows in the records of its suspects."""
    with suppress(Exception):
        open_workshop(folder).clean_model(spec)


def make_suspect(folder: Path, spec: SuspectSpec) -> SuspectRecord:
    """Plants a backdoor and measures suspect and clean model; what goes wrong stands in the record."""
    workshop, path = open_workshop(folder), _path(folder, spec)
    # Of a suspect that is only measured again, the time of its making still counts.
    spent = read_json(path, SuspectRecord.from_dict).seconds if path.is_file() and workshop.has(spec) else 0.0
    return _keep(folder, spec, lambda record: _measure_suspect(workshop, spec, record), spent)


def run_cell(folder: Path, spec: CellSpec) -> CellRecord:
    """Tries every setting of a defence on a suspect and chooses one; what goes wrong stands in the record."""
    return _keep(folder, spec, lambda record: _run_defense(open_workshop(folder), spec, record))


def give_up(job: Job) -> SuspectRecord | CellRecord | None:
    """Records that the process of a job was killed; a clean model has no record, its suspects have."""
    function, (folder, spec) = job
    if function is make_clean_model:
        return None

    def fail(record: SuspectRecord | CellRecord) -> NoReturn:
        raise RuntimeError("its process was killed, even when it ran alone (out of memory?)")

    return _keep(folder, spec, fail)


def choose(reference: Rate, candidates: list[CandidateRecord], margin: float) -> tuple[int, bool]:
    """
    Chooses a setting by held-out clean examples alone, by the one rule for all defences.

    Args:
        reference ([`~hf_finemix.rates.Rate`]): The suspect's accuracy on them.
        candidates (`list[CandidateRecord]`): The settings, strongest first.
        margin (`float`): How far below the reference a setting may lie.

    Returns:
        `tuple[int, bool]`: The strongest setting whose accuracy is within the margin, and `True`. If there is none,
        the most accurate one, the stronger of equals, and `False`.
    """
    # Counted in examples, so that no rounding of shares decides.
    allowed = reference.successes - margin * reference.n
    for number, candidate in enumerate(candidates):
        if candidate.validation.successes >= allowed - 1e-9:
            return number, True
    return max(range(len(candidates)), key=lambda number: candidates[number].validation.successes), False


def _path(folder: Path, spec: SuspectSpec | CellSpec) -> Path:
    return folder / (SUSPECTS if isinstance(spec, SuspectSpec) else CELLS) / f"{spec.id}.json"


def _keep(folder: Path, spec: SuspectSpec | CellSpec, measure: Callable[[_R], _R], spent: float = 0.0) -> _R:
    """Writes and returns the record of a suspect or a cell, with its figures or with what went wrong."""
    path, record, start = _path(folder, spec), _blank(spec), time.monotonic()
    try:
        record = _readable(measure(record))
    # Whatever a third party's attack or defence raises: one must not stop the others.
    except Exception as error:
        record = replace(record, error=reason(error))
    record = replace(record, seconds=round(spent + time.monotonic() - start, 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, to_json(record.to_dict()))
    return record


def _blank(spec: SuspectSpec | CellSpec) -> SuspectRecord | CellRecord:
    if isinstance(spec, SuspectSpec):
        clean = spec.clean
        return SuspectRecord(clean.task.name, clean.model.name, spec.label, clean.seed, dict(spec.attack))
    clean = spec.suspect.clean
    return CellRecord(
        task=clean.task.name,
        model=clean.model.name,
        attack=spec.suspect.label,
        seed=clean.seed,
        defense=spec.label,
        settings=dict(spec.defense),
        e_pur=spec.e_pur,
        clean_examples=spec.clean_examples,
        margin=spec.margin,
        recipe=spec.recipe,
        environment=environment(),
    )


def _measure_suspect(workshop: Workshop, spec: SuspectSpec, record: SuspectRecord) -> SuspectRecord:
    clean = spec.clean
    triggers = spec.make_attack().triggers
    suspect, baseline = workshop.suspect(spec), workshop.clean_model(clean)
    test, tokenizer = workshop.splits(clean.task).test, workshop.tokenizer(clean.model)
    options = {"max_length": workshop.max_length(clean, suspect)}
    return replace(
        record,
        evaluation=measure(suspect, tokenizer, test, triggers, **options).evaluation,
        baseline=measure(baseline, tokenizer, test, triggers, **options).evaluation,
        rank_by=spec.rank_by,
        ranks=_ranks(workshop, spec, triggers, tokenizer),
    )


def _ranks(
    workshop: Workshop, spec: SuspectSpec, triggers: tuple[Trigger, ...], tokenizer: PreTrainedTokenizerBase
) -> tuple[RankRecord, ...]:
    found = []
    for source in spec.rank_by:
        scores = workshop.scores(spec, source)
        places = np.empty(len(scores), dtype=np.int64)
        places[rank_rows(scores)] = np.arange(1, len(scores) + 1)
        for trigger in triggers:
            ids = tokenizer(trigger.text, add_special_tokens=False)["input_ids"] if trigger.is_inserted else []
            if not ids:
                continue
            first = min(ids, key=lambda token: places[token])
            token = tokenizer.convert_ids_to_tokens(first)
            found.append(RankRecord(trigger.text, source, token, int(places[first]), len(scores)))
    return tuple(found)


def _run_defense(workshop: Workshop, spec: CellSpec, record: CellRecord) -> CellRecord:
    clean, defense = spec.suspect.clean, spec.make_defense()
    splits, tokenizer = workshop.splits(clean.task), workshop.tokenizer(clean.model)
    triggers = spec.suspect.make_attack().triggers
    if not workshop.has(spec.suspect):
        raise RuntimeError("there is no suspect; its own record says why")
    missing = next((other for other in spec.others if not workshop.has(other)), None)
    if missing is not None:
        raise RuntimeError(f"there is no clean model of task {missing.task.name!r}, which the defence needs")
    workshop.make_room(2 + len(spec.others))
    suspect = workshop.suspect(spec.suspect)
    recipe = replace(spec.recipe, max_length=workshop.max_length(clean, suspect))
    view = DefenderView(
        tokenizer=tokenizer,
        clean=splits.clean(spec.clean_examples, clean.seed),
        twin=workshop.twin(suspect, clean.model),
        recipe=recipe,
        scores=workshop.scores(spec.suspect, recipe.frequencies),
        others=[workshop.clean_model(other) for other in spec.others],
        memory=workshop.memory(spec),
        unlabeled=splits.unlabeled(_MOST_UNLABELED, spec.clean_examples, clean.seed),
        frequencies=workshop.counts(spec.suspect, recipe.frequencies),
    )
    reference = _validate(suspect, tokenizer, splits.validation, recipe.max_length)
    candidates, measured = [], []
    for setting in defense.settings:
        model, start = copy.deepcopy(suspect), time.monotonic()
        # A defence that draws from the global generators must not depend on what ran before.
        set_seed(recipe.seed)
        defense.apply(model, view, setting, spec.e_pur)
        seconds = round(time.monotonic() - start, 2)
        validation = _validate(model, tokenizer, splits.validation, recipe.max_length)
        predictions = measure(model, tokenizer, splits.test, triggers, max_length=recipe.max_length)
        candidates.append(CandidateRecord(dict(setting), validation, predictions.evaluation, seconds))
        measured.append(predictions)
    chosen, within = choose(reference, candidates, spec.margin)
    return replace(
        record,
        reference=reference,
        candidates=tuple(candidates),
        chosen=chosen,
        within_margin=within,
        outcomes=_outcomes(measured[chosen], splits.test, triggers),
    )


def _validate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, validation: Dataset, max_length: int
) -> Rate:
    return accuracy(predict(model, tokenizer, validation, max_length=max_length), list(validation["label"]))


def _outcomes(predictions: Predictions, test: Dataset, triggers: tuple[Trigger, ...]) -> dict[str, str]:
    right = predictions.clean == np.array(list(test["label"]))
    outcomes = {"clean": _digits(right)}
    for number, (trigger, labels) in enumerate(zip(triggers, predictions.triggered, strict=True)):
        outcomes[f"trigger {number}"] = _digits(labels == trigger.target_label)
    return outcomes


def _digits(flags: np.ndarray) -> str:
    return "".join("1" if flag else "0" for flag in flags)


def _readable(record: _R) -> _R:
    # A third party's settings and triggers may be nothing that JSON can hold, or that could be read back.
    text = to_json(record.to_dict()).encode()
    return type(record).from_dict(json.loads(text))
