"""
How long does mixing in memory take, beside `torch.lerp` over the same tensors?

    python examples/benchmark/mixing_in_memory.py --models bert-base llama-1b

`fine_mix_` with all its checks, and the bare mixing of the tensors, in turns with `torch.lerp` into new tensors, into
memory that is there and in place; drawn weights. On a GPU also the share of the memory bandwidth that mixing reaches:
two reads and one write, beside a plain copy. Writes `results/mixing_in_memory.json` and `mixing_in_memory.md`.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mixing_pairs import CONFIGS, draw
from transformers import BertForSequenceClassification, LlamaForCausalLM, PreTrainedModel

from hf_finemix import FineMixConfig, fine_mix_
from hf_finemix.mixing import mix_each_
from hf_finemix.results import environment
from hf_finemix.twin import Twin, load_twin


HERE = Path(__file__).parent
FINE_MIX, BARE, COPY = "fine_mix_", "mixing alone", "copy"
PLAIN, LERP, IN_PLACE = "torch.lerp, new tensors", "torch.lerp", "torch.lerp, in place"
CONFIG = FineMixConfig(keep_ratio=0.3)


def main() -> None:
    """Measures, and writes figures and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CONFIGS, default=("bert-base", "llama-1b"))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "mixing_in_memory.json")
    options = parser.parse_args()
    runs, scalars = [], {}
    for name in options.models:
        model, twin = make_models(name)
        scalars[name] = sum(tensor.numel() for tensor in twin.tensors.values())
        for threads in options.threads:
            torch.set_num_threads(threads)
            runs += [run | {"model": name, "device": f"{threads} threads"} for run in measure(model, twin, options)]
        if torch.cuda.is_available():
            there = Twin(twin.source, {key: t.cuda() for key, t in twin.tensors.items()}, twin.absent, twin.embedding)
            device = torch.cuda.get_device_name()
            runs += [run | {"model": name, "device": device} for run in measure(model.cuda(), there, options)]
        del model, twin
    result = {"repeats": options.repeats, "scalars": scalars, "runs": runs, "environment": environment()}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    command = " ".join(["python", "examples/benchmark/mixing_in_memory.py", *sys.argv[1:]])
    table = options.output.parent.parent / f"{options.output.stem}.md"
    table.write_text(render(result, command), encoding="utf-8")


@torch.no_grad()
def make_models(name: str) -> tuple[PreTrainedModel, Twin]:
    """Returns a model with drawn weights and its pretrained twin, a twentieth away."""
    config = CONFIGS[name]
    cls = LlamaForCausalLM if config.model_type == "llama" else BertForSequenceClassification
    dtype = getattr(torch, str(config.dtype).removeprefix("torch."))
    generator = torch.Generator().manual_seed(0)
    # Without drawing the weights that the class begins with, which takes longer than all that is measured.
    with torch.device("meta"):
        model, clean = cls(config).to(dtype), cls(config).to(dtype)
    model, clean = model.to_empty(device="cpu"), clean.to_empty(device="cpu")
    for own, other in zip(model.parameters(), clean.parameters(), strict=True):
        other.copy_(draw(tuple(other.shape), 0.02, generator))
        own.copy_(other + draw(tuple(own.shape), 0.001, generator))
    return model, load_twin(model, clean)


@torch.no_grad()
def measure(model: PreTrainedModel, twin: Twin, options: argparse.Namespace) -> list[dict]:
    """Times the programs in turns; the first turn pays for what is made on first use, and does not count."""
    parameters = dict(model.named_parameters())
    pairs = [(name, parameters[name].data, pretrained) for name, pretrained in twin.tensors.items()]
    room = torch.empty(max(own.numel() for _, own, _ in pairs), dtype=pairs[0][1].dtype, device=pairs[0][1].device)

    def each(work: Callable) -> Callable[[], None]:
        def run() -> None:
            for pair in pairs:
                work(*pair)

        return run

    programs = {
        FINE_MIX: lambda: fine_mix_(model, twin, CONFIG, allow_mixed=True),
        BARE: lambda: mix_each_(((name, (own, other)) for name, own, other in pairs), CONFIG),
        PLAIN: each(lambda name, own, other: torch.lerp(other, own, 0.3)),
        LERP: each(lambda name, own, other: torch.lerp(other, own, 0.3, out=room[: own.numel()].view(own.shape))),
        IN_PLACE: each(lambda name, own, other: own.lerp_(other, 0.7)),
        COPY: each(lambda name, own, other: room[: own.numel()].view(own.shape).copy_(other)),
    }
    runs = []
    for repeat in range(-1, options.repeats):
        for name, program in programs.items():
            seconds = seconds_of(program)
            if repeat >= 0:
                runs.append({"program": name, "repeat": repeat, "seconds": seconds})
    return runs


def seconds_of(program: Callable[[], None]) -> float:
    """Returns the wall time of one call, a GPU's work included."""
    synchronize()
    start = time.perf_counter()
    program()
    synchronize()
    return round(time.perf_counter() - start, 6)


def synchronize() -> None:
    """Waits for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def render(result: dict, command: str) -> str:
    """Makes the table."""
    runs, versions = result["runs"], result["environment"]
    lines = [
        "# Speed of mixing in memory",
        "",
        f"Keep ratio {CONFIG.keep_ratio}; in turns, {result['repeats']} times; medians. Ratios are medians of the "
        "ratios within a turn. The bandwidth counts two reads and one write of each scalar (a read and a write for a "
        "copy).",
        "",
        f"| model | on | program | seconds | ns a scalar | GB/s | times `{PLAIN}` | times `{LERP}` | times in place |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for model, device, name in dict.fromkeys((run["model"], run["device"], run["program"]) for run in runs):
        found = {
            program: [
                r["seconds"] for r in runs if (r["model"], r["device"], r["program"]) == (model, device, program)
            ]
            for program in (name, PLAIN, LERP, IN_PLACE)
        }
        seconds, scalars = statistics.median(found[name]), result["scalars"][model]
        wide = 4 if CONFIGS[model].model_type == "bert" else 2
        ratios = [
            statistics.median(a / b for a, b in zip(found[name], found[other], strict=True))
            for other in (PLAIN, LERP, IN_PLACE)
        ]
        rate = (2 if name == COPY else 3) * wide * scalars / seconds / 1e9
        lines.append(
            f"| {model} | {device} | {name} | {seconds:.3f} | {seconds / scalars * 1e9:.2f} | {rate:.1f} | "
            f"{ratios[0]:.2f} | {ratios[1]:.2f} | {ratios[2]:.2f} |"
        )
    lines += [
        "",
        f"torch {versions['torch']}. Every time: [results/mixing_in_memory.json](results/mixing_in_memory.json).",
        "",
        f"    {command}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
