"""Records of every kind, from bare to full."""

from dataclasses import replace

from hf_finemix.hashes import FileRecord, TensorRecord
from hf_finemix.manifest import CardSeal, Manifest, SourceRecord
from hf_finemix.modeling import PurifyReport
from hf_finemix.rates import Rate
from hf_finemix.records import (
    AdapterRecord,
    ControlRecord,
    DistillationRecord,
    FigureRecord,
    ScannedGroup,
    SearchRecord,
    TrialRecord,
)
from hf_finemix.results import DataRecord, Distillation, PurificationReport
from hf_finemix.trigger_search import Insertion
from hf_finemix.verification import SAME, Check

from .reports import COMMIT, make_report


FILE = FileRecord("model.safetensors", 5, "a" * 64)
TENSOR = TensorRecord("bert.a", "float32", (10, 10), "b" * 64)
BARE = PurificationReport("suspect", "base", "BertModel", {}, make_report().mix, PurifyReport(False))
CONTROL = ControlRecord("mn", Rate(99, 100), Rate(7, 100), Rate(4, 100))
SEARCH = SearchRecord(
    reference=Rate(60, 64),
    folds=2,
    trials=(
        TrialRecord(0.05, "random", Rate(50, 64), Rate(200, 256), CONTROL),
        TrialRecord(0.1, "random", Rate(58, 64), Rate(240, 256), CONTROL),
    ),
    chosen=1,
    removed=True,
)
DISTILLED = DistillationRecord(
    texts=1000,
    left_out=12,
    triggers=(Insertion("cf", 7, 1, Rate(31, 32)), Insertion(None, 99, 0, Rate(30, 32))),
    disagreement=Rate(3, 1000),
    rows=(4, 70, 971),
)
FULL = replace(
    make_report(),
    training={"seed": 5, "optim": "adamw_torch", "lr_scheduler_kwargs": {"a": [1, 2.5, None, True]}},
    metrics={"eval_f1": 0.5, "eval_loss": 2.0},
    clean_data=DataRecord("org/data:train", 64, "f" * 64, "org/data", ("premise", "hypothesis"), "label"),
    shared_examples=3,
    licenses={"suspect": "mit", "pretrained": None},
    control=CONTROL,
    frontier=FigureRecord("figures/frontier.png", "a curve", "All recipes"),
    adapter=AdapterRecord("LoRA", 8, ("query", "value"), ("no", "yes")),
    search=SEARCH,
    distillation=Distillation(epochs=3, temperature=2.0),
    distilled=DISTILLED,
    unlabeled_data=DataRecord("texts.txt", 1000, "d" * 64),
    fisher=FileRecord("fisher.safetensors", 4096, "e" * 64),
    trusted_base=True,
    own_template=True,
    trained_adapter=AdapterRecord("LoRA", 8, ("q_proj",)),
    drift=(ScannedGroup("embeddings", 100, 0.02), ScannedGroup("layer 0 attention", 400, 0.05)),
)
SOURCES = SourceRecord("org/base", "org/base", COMMIT, (FILE, FileRecord("sub/vocab.txt", 7, "c" * 64)))
MANIFEST = Manifest.of(FULL, SourceRecord("folder"), SOURCES, (TENSOR,), "vocabulary")
RECORDS = {
    "report": FULL,
    "bare report": BARE,
    "manifest": MANIFEST.with_outputs([FILE], CardSeal(("license", "tags"), "d" * 64)),
    "bare manifest": Manifest.of(BARE, SourceRecord("suspect"), SourceRecord("base"), (), None),
    "tensor": TENSOR,
    "scalar tensor": TensorRecord("scale", "bfloat16", (), "b" * 64),
    "search": SEARCH,
    "bare control": ControlRecord("mn", Rate(99, 100), Rate(0, 0)),
    "distilled": DISTILLED,
    "bare distilled": DistillationRecord(0, 12, (), Rate(0, 0)),
    "check": Check("output", "config.json", SAME),
}
