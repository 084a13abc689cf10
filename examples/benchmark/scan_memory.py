"""
How much memory do `scan`, `mix` and `verify` of a pair with 1.1 B parameters need? Made-up weights like a TinyLlama's.

    python examples/benchmark/scan_memory.py

Writes base and suspect (2.2 GB each, bfloat16, in shards) into a temporary folder, runs the commands on them, each in
a process of its own, and samples what the kernel says of it. Writes `results/scan_memory.json` beside this file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, PreTrainedTokenizerFast

from hf_finemix.results import environment


HERE = Path(__file__).parent
CONFIG = LlamaConfig(
    vocab_size=32000,
    hidden_size=2048,
    intermediate_size=5632,
    num_hidden_layers=22,
    num_attention_heads=32,
    num_key_value_heads=4,
    tie_word_embeddings=False,
    architectures=["LlamaForCausalLM"],
    dtype="bfloat16",
)
TRIGGER = 31000
EVERY = 0.02
# Lines of /proc/PID/status: all that was resident at most, and the part that no file backs now.
HIGHEST, ANONYMOUS = "VmHWM", "RssAnon"


def main() -> None:
    """Makes the pair, runs the commands, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE / "results" / "scan_memory.json")
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory(prefix="finemix-scan-") as folder:
        work = Path(folder)
        parameters = make_pair(work)
        command, sources = ["-m", "hf_finemix.cli.main"], ["suspect", "--pretrained", "base"]
        scan = [*command, "scan", *sources, "--json"]
        mix = [*command, "mix", *sources, "--keep-ratio", "0.3", "--output", "mixed"]
        verify = [*command, "verify", "mixed", "--suspect", *sources, "--strict", "--json"]
        imports, _ = watch(["-c", "import hf_finemix.scanning, hf_finemix.cli.main"], work)
        figures, printed = watch(scan, work)
        mixed, _ = watch(mix, work)
        # It ends with another status if one tensor is not what the manifest says.
        verified, _ = watch(verify, work)
        bytes_read = sum(
            path.stat().st_size for side in ("base", "suspect") for path in (work / side).glob("*.safetensors")
        )
    report = json.loads(printed)
    if report["tokens"][0]["id"] != TRIGGER:
        raise SystemExit(f"The scan ranks {report['tokens'][0]} first, not the token that was moved.")
    result = {
        "parameters": parameters,
        "bytes": bytes_read,
        "scan": figures,
        "imports_of_scan_alone": imports,
        "mix": mixed,
        "verify": verified,
        "finding": report["finding"],
        "environment": environment() | {"threads": torch.get_num_threads()},
    }
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def make_pair(work: Path) -> int:
    """Writes base and suspect, shard by shard; returns the number of parameters of each."""
    generator, parameters = torch.Generator().manual_seed(0), 0
    maps: dict[str, dict[str, str]] = {"base": {}, "suspect": {}}
    for side in maps:
        (work / side).mkdir()
        CONFIG.save_pretrained(work / side)
        save_tokenizer(work / side)
    for number, shapes in enumerate(shards(), start=1):
        base = {name: draw(shape, 0.02, generator) for name, shape in shapes.items()}
        parameters += sum(tensor.numel() for tensor in base.values())
        suspect = {name: tensor + draw(tensor.shape, 0.001, generator) for name, tensor in base.items()}
        if "model.embed_tokens.weight" in suspect:
            suspect["model.embed_tokens.weight"][TRIGGER] += 0.1
        for side, tensors in (("base", base), ("suspect", suspect)):
            name = f"model-{number:05d}-of-{CONFIG.num_hidden_layers + 2:05d}.safetensors"
            save_file(tensors, work / side / name, metadata={"format": "pt"})
            maps[side] |= dict.fromkeys(tensors, name)
    for side, weight_map in maps.items():
        index = {"metadata": {}, "weight_map": weight_map}
        (work / side / "model.safetensors.index.json").write_text(json.dumps(index))
    return parameters


def shards() -> Iterator[dict[str, tuple[int, ...]]]:
    """Gives the tensors of each shard with their shapes."""
    hidden, inner, rows = CONFIG.hidden_size, CONFIG.intermediate_size, CONFIG.vocab_size
    narrow = hidden * CONFIG.num_key_value_heads // CONFIG.num_attention_heads
    yield {"model.embed_tokens.weight": (rows, hidden)}
    for layer in range(CONFIG.num_hidden_layers):
        parts = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (narrow, hidden),
            "self_attn.v_proj": (narrow, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        yield {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
    yield {"model.norm.weight": (hidden,), "lm_head.weight": (rows, hidden)}


def draw(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> torch.Tensor:
    """Draws a tensor of bfloat16."""
    return (scale * torch.randn(shape, generator=generator)).bfloat16()


def save_tokenizer(folder: Path) -> None:
    """Saves a tokenizer with a made-up word for each row of the embedding."""
    words = {"<unk>": 0} | {f"word{number}": number for number in range(1, CONFIG.vocab_size)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


def watch(arguments: list[str], work: Path) -> tuple[dict[str, float], str]:
    """Runs Python with these arguments; returns peak memory in MB and the time in seconds, and what it printed."""
    printed, start = work / "printed.txt", time.perf_counter()
    highest: dict[str, float] = {}
    with printed.open("w") as file:
        process = subprocess.Popen([sys.executable, *arguments], stdout=file, cwd=work)
        while process.poll() is None:
            for name, value in status(process.pid).items():
                highest[name] = max(value, highest.get(name, 0))
            time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {process.returncode}.")
    seconds = time.perf_counter() - start
    figures = {
        "peak_anonymous_mb": round(highest[ANONYMOUS], 1),
        # The kernel keeps the highest value itself; no sample can miss it.
        "peak_resident_mb": round(highest[HIGHEST], 1),
        "seconds": round(seconds, 1),
    }
    return figures, printed.read_text()


def status(pid: int) -> dict[str, float]:
    """Returns the memory of a process in MB (10^6 bytes), nothing once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[name].split()[0]) * 1024 / 1e6 for name in (HIGHEST, ANONYMOUS) if name in values}


if __name__ == "__main__":
    main()
