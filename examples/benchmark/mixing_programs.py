"""
What the benchmark of mixing compares with, each run as a process of its own.

    python examples/benchmark/mixing_programs.py floor SUSPECT BASE OUTPUT
    python examples/benchmark/mixing_programs.py load SUSPECT BASE OUTPUT KEEP_RATIO

`floor` reads the bytes of both checkpoints and writes those of one, with plain system calls and nothing between: what
mixing two files in one thread cannot do without. `load` is what a script would do: load both with transformers, mix,
save.
"""

import os
import sys


BUFFER = 1 << 24


def main() -> None:
    """Runs one of the programs."""
    program, suspect, base, output, *rest = sys.argv[1:]
    if program == "floor":
        floor(suspect, base, output)
    else:
        load(suspect, base, output, float(rest[0]))


def floor(suspect: str, base: str, output: str) -> None:
    """Reads both checkpoints' files side by side and writes the suspect's bytes, then fsync."""
    os.makedirs(output)
    own, other = bytearray(BUFFER), bytearray(BUFFER)
    for name in sorted(os.listdir(suspect)):
        if not name.endswith(".safetensors"):
            continue
        paths = (os.path.join(folder, name) for folder in (suspect, base))
        first, second = (os.open(path, os.O_RDONLY) for path in paths)
        target = os.open(os.path.join(output, name), os.O_WRONLY | os.O_CREAT, 0o644)
        while count := os.readv(first, [own]):
            os.readv(second, [other])
            view = memoryview(own)[:count]
            while view:
                view = view[os.write(target, view) :]
        os.fsync(target)
        for handle in (first, second, target):
            os.close(handle)


def load(suspect: str, base: str, output: str, keep_ratio: float) -> None:
    """Loads both models, mixes one tensor after the other with a mask from torch's generator, and saves."""
    import torch
    import transformers

    architecture = transformers.AutoConfig.from_pretrained(suspect).architectures[0]
    cls = getattr(transformers, architecture)
    model, clean = (cls.from_pretrained(folder, dtype="auto") for folder in (suspect, base))
    torch.manual_seed(0)
    with torch.no_grad():
        for own, other in zip(model.parameters(), clean.parameters(), strict=True):
            own.copy_(torch.where(torch.rand(own.shape) < keep_ratio, own, other))
    model.save_pretrained(output)


if __name__ == "__main__":
    main()
