"""
Scans every suspect and every clean model of a bench, never told the trigger: what is found, and what is a false alarm?

    hf-finemix bench CONFIG.yaml --output WORK
    python examples/benchmark/detection.py WORK

Each model is scanned against its base with texts of the task's pool, which no model was trained on. Only afterwards
are the triggers looked up, for the tables. Models that were scanned before are left out, unless `--again` is given;
`--only TEXT` takes those with the text in their name. Writes `results/detection.json`, `detection.md` and
`detection.png` beside this file.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection_report import by_both, render, roc_figure
from transformers import PreTrainedTokenizerBase

from hf_finemix import ScanReport, scan
from hf_finemix.attacks.registered import ATTACKS
from hf_finemix.choices import FINDINGS
from hf_finemix.laboratory.base_models import BaseModel, load_base_model
from hf_finemix.laboratory.records import SuspectRecord
from hf_finemix.laboratory.results import MODELS, SUSPECTS, read_config, read_records
from hf_finemix.laboratory.workshop import Workshop
from hf_finemix.loading import TOKENIZER_FILES, resolve_checkpoint
from hf_finemix.tasks.task import Task, load_task


HERE = Path(__file__).parent
RESULTS = HERE / "results" / "detection.json"
CLEAN = re.compile(r"(?P<task>.+)-(?P<model>[^-]+)-clean-s(?P<seed>\d+)-[0-9a-f]{10}")


@dataclass(frozen=True)
class Model:
    """A model of the bench: a suspect with its record, or a clean one without."""

    name: str
    task: str
    base: str
    seed: int
    suspect: SuspectRecord | None = None


def main() -> None:
    """Scans what was not scanned before, and writes tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="the folder of the bench")
    parser.add_argument("--only", default="", metavar="TEXT", help="scan models with this text in their name")
    parser.add_argument("--again", action="store_true", help="scan models that were scanned before, too")
    parser.add_argument("--output", type=Path, default=HERE, help="the folder to write to")
    options = parser.parse_args()
    bench, results = Bench(options.work), options.output / "results" / RESULTS.name
    results.parent.mkdir(parents=True, exist_ok=True)
    found = {} if options.again or not results.is_file() else {r["name"]: r for r in json.loads(results.read_text())}
    for model in bench.models():
        if options.only in model.name and model.name not in found:
            found[model.name] = bench.scan(model)
            print(f"{model.name}: {found[model.name]['finding']}", flush=True)
            # Kept after each model: a run that was stopped goes on.
            write(results, found)
    # Those that were scanned before may have been judged by other thresholds.
    found = {name: row | {"finding": FINDINGS[by_both(row)]} for name, row in sorted(found.items())}
    write(results, found)
    (options.output / "detection.md").write_text(render(list(found.values())), encoding="utf-8")
    (options.output / "detection.png").write_bytes(roc_figure(list(found.values())))


def write(path: Path, found: dict[str, dict[str, Any]]) -> None:
    """Writes what was found of each model."""
    path.write_text(json.dumps(list(found.values()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class Bench:
    """The models of a bench, with their tasks and bases."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.workshop = Workshop(folder)
        grids = read_config(folder)["grids"]
        self.tasks = {item["name"]: Task.from_dict(item) for grid in grids for item in grid["tasks"]}
        self.bases = {item["name"]: BaseModel.from_dict(item) for grid in grids for item in grid["models"]}

    def models(self) -> Iterator[Model]:
        """Gives all models that the folder holds, the clean ones first."""
        for path in sorted((self.folder / MODELS).iterdir()):
            match = CLEAN.fullmatch(path.name)
            if match:
                yield Model(path.name, match["task"], match["model"], int(match["seed"]))
        for name, record in read_records(self.folder / SUSPECTS, SuspectRecord).items():
            if record.error is None and (self.folder / MODELS / name).is_dir():
                yield Model(name, record.task, record.model, record.seed, record)

    def scan(self, model: Model) -> dict[str, Any]:
        """Scans a model against its base, then looks up where its triggers are."""
        base = self.bases.get(model.base) or load_base_model(model.base)
        task = self.tasks.get(model.task) or load_task(model.task)
        tokenizer, start = self.workshop.tokenizer(base), time.monotonic()
        checkpoint = self.workshop.checkpoint(base)
        with tempfile.TemporaryDirectory() as scratch:
            # A bench keeps no tokenizer beside its models: it is the base's.
            folder = Path(scratch) / model.name
            folder.mkdir()
            tokenizer_files = [checkpoint.folder / name for name in TOKENIZER_FILES]
            for path in (*(self.folder / MODELS / model.name).resolve().iterdir(), *tokenizer_files):
                if path.is_file() and not (folder / path.name).exists():
                    (folder / path.name).symlink_to(path.resolve())
            pool = self.workshop.splits(task).pool
            report = scan(resolve_checkpoint(folder, "model"), checkpoint, top=len(tokenizer), texts=pool)
        return describe(model, report, tokenizer) | {"seconds": round(time.monotonic() - start, 1)}


def describe(model: Model, report: ScanReport, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Returns what the scan found, and what it should have found."""
    row = {
        "name": model.name,
        "task": model.task,
        "model": model.base,
        "seed": model.seed,
        "attack": None if model.suspect is None else model.suspect.attack,
        "finding": report.finding,
        "prominence": round(report.prominence, 4),
        "top": [[item.token, round(item.deviation, 2)] for item in report.tokens[:10]],
        "texts": report.texts,
        "insertions": [item.to_dict() for item in report.insertions[:10]],
        "outliers": [item.to_dict() for item in report.outliers],
    }
    return row if model.suspect is None else row | look_up(model, report, tokenizer)


def look_up(model: Model, report: ScanReport, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Returns where the scan has the triggers: their tokens, the best rank, and the best insertion of one of them."""
    worst = model.suspect.evaluation.worst
    # The target label takes no part in what the triggers are.
    attack = ATTACKS.make(model.suspect.settings | {"target_label": worst.target_label, "seed": model.seed})
    texts = [trigger.text for trigger in attack.triggers if trigger.is_inserted]
    tokens = {token for text in texts for token in tokenizer(text, add_special_tokens=False)["input_ids"]}
    # Where no embedding moved there is no ranking.
    ranked = next((item for item in report.tokens if item.id in tokens and item.score > 0), None)
    flips = next((item for item in report.insertions if item.id in tokens), None)
    return {
        "asr": worst.asr.value,
        "triggers": texts,
        "target_label": worst.target_label,
        "trigger_token": None if ranked is None else ranked.token,
        "trigger_rank": None if ranked is None else ranked.rank,
        "trigger_insertion": None if flips is None else flips.to_dict(),
    }


if __name__ == "__main__":
    main()
