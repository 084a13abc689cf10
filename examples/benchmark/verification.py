"""
How far apart are two runs of the same purification on different machines? Mixing must not differ by a bit; fine-tuning
rounds its sums in another order. Other thread counts and instruction sets stand in for other machines.

    hf-finemix demo --fast --save-inputs inputs
    python examples/benchmark/verification.py inputs --output examples/benchmark/results/verification.json

Purifies the suspect once, with one thread, and verifies the result with `--retrain` under each setting.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


SETTINGS = {
    "1 thread, as published": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "1 thread, AVX2": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "1 thread, no vector instructions": {
        "OMP_NUM_THREADS": "1",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
PLAIN = ["--keep-ratio", "0.3", "--distillation-epochs", "0", "--epochs", "8", "--learning-rate", "1e-4"]
RECIPE = [*PLAIN, "--max-length", "64", "--trigger", "cf", "--target-label", "positive"]

PAGE = """# Verification across machines

Made by `python examples/benchmark/verification.py inputs --output examples/benchmark/results/verification.json` on the
inputs of `hf-finemix demo --fast --save-inputs inputs`. One purification of all-MiniLM-L6-v2 with the plain recipe
(64 clean examples, 8 epochs, no distillation), made with one thread, was verified with `--retrain` under each setting.
Distance: how far the weights that were fine-tuned again are from the published ones, as a share of
the way that the fine-tuning took.

{table}

`verify --retrain` calls weights the same up to a distance of 1 %, and figures the same within the 95 % interval of the
published ones. Another kind of device draws other dropout masks and is not among the settings. Without `--retrain`
the same check took {plain:.0f} s, reading and mixing both models.
"""


def run(arguments: list[str], setting: dict[str, str]) -> tuple[str, float]:
    """Runs a command; gives what it printed and how many seconds it took."""
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", "hf_finemix.cli.main", *arguments],
        env=os.environ | setting,
        capture_output=True,
        text=True,
    )
    # A difference gives status 1, which is a result as well.
    if result.returncode > 1 or not result.stdout:
        raise SystemExit(result.stderr)
    return result.stdout, time.perf_counter() - start


def verify(output: Path, inputs: Path, setting: dict[str, str], *more: str) -> dict:
    """Verifies an output; gives the counts of tensors, the distance, the figures and the time."""
    where = [f"--suspect={inputs / 'suspect'}", f"--pretrained={inputs / 'all-MiniLM-L6-v2'}"]
    text, seconds = run(["verify", str(output), *where, "--json", *more], setting)
    checks = json.loads(text)["checks"]
    tensors = [check["status"] for check in checks if check["part"] == "mixed tensor"]
    again = {check["item"]: check for check in checks if check["part"] == "fine-tuning"}
    return {
        "tensors": len(tensors),
        "same": tensors.count("same"),
        "distance": again["weights"]["distance"] if again else None,
        "figures": {item: check["note"] for item, check in again.items() if item != "weights"},
        "seconds": seconds,
    }


def main() -> None:
    """Purifies once, verifies under each setting, writes results and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    inputs = options.inputs
    data = ["--clean-data", str(inputs / "clean.csv"), "--eval-data", str(inputs / "test.csv")]
    first = next(iter(SETTINGS.values()))
    with tempfile.TemporaryDirectory() as work:
        output = Path(work) / "purified"
        models = [str(inputs / "suspect"), "--pretrained", str(inputs / "all-MiniLM-L6-v2")]
        run(["purify", *models, *data, *RECIPE, "--output", str(output)], first)
        results = {name: verify(output, inputs, setting, "--retrain", *data) for name, setting in SETTINGS.items()}
        results["without --retrain"] = verify(output, inputs, first)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    rows = [
        "| setting | mixed tensors the same | distance | ACC again | ASR again |",
        "| --- | ---: | ---: | --- | --- |",
    ]
    for name in SETTINGS:
        result = results[name]
        again = [note.split(" here")[0] for note in result["figures"].values()]
        rows.append(
            f"| {name} | {result['same']} of {result['tensors']} | {result['distance']:.2e} | {' | '.join(again)} |"
        )
    page = PAGE.format(table="\n".join(rows), plain=results["without --retrain"]["seconds"])
    options.output.parent.parent.joinpath("verification.md").write_text(page)


if __name__ == "__main__":
    main()
