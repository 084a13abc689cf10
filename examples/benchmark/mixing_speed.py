"""
How fast is `hf-finemix mix`, beside mergekit, beside loading and saving, and beside plain reading and writing?

    python3.11 -m venv mergekit && mergekit/bin/pip install torch==2.13.0 mergekit==0.1.5
    python examples/benchmark/mixing_speed.py WORK --mergekit mergekit

Makes the pairs in WORK (several GB each; they are kept), runs the programs in turns, each as a process of its own, and
writes `results/mixing_speed.json` and `mixing_speed.md`. The machine must be otherwise idle. `dare_linear`, without
its rescaling, is mergekit's name for random mixing; its `linear` averages the two.
"""

import argparse
import json
import shlex
import shutil
import sys
from pathlib import Path

import torch
import yaml
from mixing_pairs import CONFIGS, GROWTH, make_pair, weights
from mixing_table import render
from mixing_watch import set_cache, sync_files, watch

from hf_finemix.results import environment


HERE = Path(__file__).parent
KEEP_RATIO = 0.3
PAIRS = ("bert-base", "llama-1b")
MERGEKIT = {"mergekit linear": "linear", "mergekit dare_linear": "dare_linear"}
OURS, HASHED, LOAD, FLOOR = "hf-finemix", "hf-finemix, hashes", "load and save", "floor"
PROGRAMS = (OURS, HASHED, *MERGEKIT, LOAD, FLOOR)
IMPORTS = {
    OURS: "import hf_finemix.cli.main, hf_finemix.mix_run",
    "mergekit": "import mergekit.scripts.run_yaml",
    LOAD: "import torch; from transformers import BertForSequenceClassification, LlamaForCausalLM",
}


def main() -> None:
    """Measures, and writes figures and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "work", type=Path, metavar="WORK", help="folder for pairs and outputs, on the disk in question"
    )
    parser.add_argument("--mergekit", type=Path, help="virtual environment with mergekit; left out without it")
    parser.add_argument("--pairs", nargs="*", choices=CONFIGS, default=PAIRS)
    parser.add_argument("--programs", nargs="*", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--growth", nargs="*", choices=CONFIGS, default=GROWTH, help="pairs for the growth with size")
    parser.add_argument("--workers", nargs="*", type=int, default=(1, 2), help="for the growth; the last one for all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--caches", nargs="*", choices=("warm", "cold"), default=("warm", "cold"))
    parser.add_argument("--drop-caches", action="store_true", help="for a cold cache, empty the system's (needs root)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "mixing_speed.json")
    parser.add_argument("--table", type=Path, help="defaults to a file of OUTPUT's name in the folder above OUTPUT's")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    programs = [name for name in options.programs if name not in MERGEKIT or options.mergekit]
    sizes = {name: make_pair(name, options.work) for name in dict.fromkeys((*options.pairs, *options.growth))}
    runs = []
    for cache in options.caches:
        for pair in options.pairs:
            runs += [measure(options, pair, turn, options.workers[-1], cache) for turn in turns(options, programs)]
    for pair in options.growth:
        for workers in options.workers:
            found = [measure(options, pair, turn, workers, "warm") for turn in turns(options, [OURS, FLOOR])]
            runs += [run | {"growth": True} for run in found]
    result = {
        "settings": {"keep_ratio": KEEP_RATIO, "repeats": options.repeats, "drop_caches": options.drop_caches},
        "pairs": sizes,
        "imports": imports(options),
        "runs": runs,
        "environment": environment() | {"mergekit": mergekit_version(options.mergekit)},
    }
    table = options.table or options.output.parent.parent / f"{options.output.stem}.md"
    named = {str(options.work): "WORK", str(options.mergekit): "mergekit"}
    command = shlex.join(["python", "examples/benchmark/mixing_speed.py", *(named.get(a, a) for a in sys.argv[1:])])
    text = render(result, command, options.output.name)
    for path, content in ((options.output, json.dumps(result, indent=1) + "\n"), (table, text)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def turns(options: argparse.Namespace, programs: list[str]) -> list[tuple[int, str]]:
    """Gives every program's runs, the programs in turns."""
    return [(repeat, name) for repeat in range(options.repeats) for name in programs]


def measure(options: argparse.Namespace, pair: str, turn: tuple[int, str], workers: int, cache: str) -> dict:
    """Runs one program once on a pair and returns its figures."""
    repeat, name = turn
    suspect, base, output = (options.work / pair / folder for folder in ("suspect", "base", "output"))
    shutil.rmtree(output, ignore_errors=True)
    set_cache([*weights(suspect), *weights(base)], cache == "warm", options.drop_caches)
    command = command_of(name, suspect, base, output, workers, options.mergekit)
    figures = watch(command, workers, options.work / "printed.txt")
    figures["sync_seconds"] = sync_files(output)
    written = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    # A program that had left something out would not be one to compare with.
    if not 0.99 < written / sum(path.stat().st_size for path in weights(suspect)) < 1.01:
        raise SystemExit(f"{name} wrote {written} bytes of weights.")
    shutil.rmtree(output)
    print(f"{pair}, {cache}, {workers} workers: {name} {figures['seconds']:.2f} s", flush=True)
    return {"pair": pair, "cache": cache, "workers": workers, "repeat": repeat, "program": name} | figures


def command_of(name: str, suspect: Path, base: Path, output: Path, workers: int, mergekit: Path | None) -> list[str]:
    """Returns the command line of a program."""
    if name in (OURS, HASHED):
        mix = [sys.executable, "-m", "hf_finemix.cli.main", "mix", str(suspect), "--pretrained", str(base)]
        mix += ["--keep-ratio", str(KEEP_RATIO), "--workers", str(workers), "--output", str(output)]
        return mix if name == HASHED else [*mix, "--no-hash"]
    if name in MERGEKIT:
        recipe = output.parent / f"{MERGEKIT[name]}.yaml"
        recipe.write_text(yaml.safe_dump(recipe_of(MERGEKIT[name], suspect, base)))
        return [str(mergekit / "bin" / "mergekit-yaml"), str(recipe), str(output), "--num-threads", str(workers)]
    program = [sys.executable, str(HERE / "mixing_programs.py")]
    paths = [str(suspect), str(base), str(output)]
    return [*program, "floor", *paths] if name == FLOOR else [*program, "load", *paths, str(KEEP_RATIO)]


def recipe_of(method: str, suspect: Path, base: Path) -> dict:
    """Returns mergekit's configuration of a merge, in the dtype that the weights have."""
    dtype = json.loads((suspect / "config.json").read_text())["dtype"]
    own, other = str(suspect.resolve()), str(base.resolve())
    if method == "linear":
        shares = {own: KEEP_RATIO, other: 1 - KEEP_RATIO}
        models = [{"model": model, "parameters": {"weight": share}} for model, share in shares.items()]
        return {"merge_method": method, "models": models, "dtype": dtype}
    return {
        "merge_method": method,
        "base_model": other,
        "models": [{"model": own, "parameters": {"weight": 1.0, "density": KEEP_RATIO}}],
        "parameters": {"normalize": False, "rescale": False},
        "dtype": dtype,
    }


def imports(options: argparse.Namespace) -> list[dict]:
    """Times the imports of each program by themselves, in turns."""
    pythons = {OURS: sys.executable, LOAD: sys.executable}
    if options.mergekit:
        pythons["mergekit"] = str(options.mergekit / "bin" / "python")
    log = options.work / "printed.txt"
    return [
        {"program": name, "repeat": repeat} | watch([python, "-c", IMPORTS[name]], options.workers[-1], log)
        for repeat in range(options.repeats)
        for name, python in pythons.items()
    ]


def mergekit_version(folder: Path | None) -> str | None:
    """Returns the version of mergekit in a virtual environment."""
    found = sorted(folder.glob("lib/*/site-packages/mergekit-*.dist-info")) if folder else []
    return found[0].name.removeprefix("mergekit-").removesuffix(".dist-info") if found else None


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
