"""
Fuzzes one target for some time, guided by coverage if atheris is installed, or by chance alone.

    python -m tests.fuzz.run TARGET --seconds 300 [--corpus FOLDER]

An input that is neither read nor refused ends the run with its traceback, and is kept in the corpus folder.
"""

import argparse
import importlib.util
import os
import random
import sys
import time
from pathlib import Path


os.environ["HF_HUB_OFFLINE"] = "1"


def fuzz(name: str, seconds: int, folder: Path, seed: int) -> None:
    """Runs a target; see the top of this file."""
    if importlib.util.find_spec("atheris") is not None:
        import atheris

        with atheris.instrument_imports(include=["hf_finemix"]):
            from .targets import REFUSALS, TARGETS
    else:
        from .targets import REFUSALS, TARGETS
    from .mutate import mutate

    target = TARGETS[name]
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(content)

    def once(content: bytes) -> None:
        try:
            target.read(content)
        except REFUSALS as error:
            assert "\n" not in str(error), str(error)

    if importlib.util.find_spec("atheris") is not None:

        def custom(data: bytes, size: int, number: int) -> bytes:
            chance = random.Random(number)
            changed = mutate(data, target.words, chance) if chance.random() < 0.5 else atheris.Mutate(data, size)
            return changed[:size]

        options = [f"-max_total_time={seconds}", "-max_len=20000", f"-artifact_prefix={corpus}/", f"-seed={seed}"]
        atheris.Setup([sys.argv[0], str(corpus), *options, "-print_final_stats=1"], once, custom_mutator=custom)
        atheris.Fuzz()
        return
    chance, end, count = random.Random(seed), time.monotonic() + seconds, 0
    seeds = [path.read_bytes() for path in corpus.iterdir()]
    while time.monotonic() < end:
        content = mutate(chance.choice(seeds), target.words, chance, 8)
        try:
            once(content)
        except BaseException:
            (corpus / "crash").write_bytes(content)
            raise
        count += 1
    sys.stdout.write(f"{name}: {count} inputs in {seconds} s\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fuzz(options.target, options.seconds, options.corpus, options.seed)
