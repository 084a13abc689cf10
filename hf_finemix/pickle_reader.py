"""
Reads a pickle of tensors in a process of its own, which may do nothing else; started by `hf_finemix.pickles`.

    python -m hf_finemix.pickle_reader INPUT OUTPUT

PyTorch's reader of weights alone (`weights_only=True`) calls no function that a pickle names: that is relied on.
Limits of the system, an empty environment and an audit hook, which ends the process when Python code starts a program,
opens a connection or writes another file, hinder whoever gets past it; native code they do not stop.
"""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


_FORBIDDEN = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill", "os.putenv"),
    *(
        "os.mkdir",
        "os.rmdir",
        "os.remove",
        "os.rename",
        "os.link",
        "os.symlink",
        "os.chmod",
        "os.chown",
        "os.truncate",
    ),
    *(
        "subprocess.",
        "socket.",
        "shutil.",
        "ctypes.",
        "pty.",
        "webbrowser.",
        "urllib.",
        "ftplib.",
        "smtplib.",
    ),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_GB = 1 << 30


def fence(source: Path, output: Path) -> None:
    """
    Takes from this process, for good, all that reading tensors does not need.

    Args:
        source (`Path`): The pickle; limits depend on its size.
        output (`Path`): The only file that may be written.
    """
    size = source.stat().st_size
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    limits = {
        resource.RLIMIT_AS: pages * resource.getpagesize() + 4 * size + _GB,
        resource.RLIMIT_CPU: 60 + size // (50 << 20),
        # Tensors of one storage are written once each.
        resource.RLIMIT_FSIZE: 16 * size + (1 << 20),
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    allowed = str(output)
    # Bound here, where no name of a module leads to them.
    forbidden, writing, end, tell = _FORBIDDEN, _WRITES, os._exit, os.write

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = bool(flags & writing) if isinstance(flags, int) else bool(set(mode or "") & set("wax+"))
            if not writes or str(path) == allowed:
                return
        elif not event.startswith(forbidden):
            return
        tell(2, f"it tried {event}\n".encode())
        end(3)

    sys.addaudithook(watch)


def read(source: Path) -> dict[str, torch.Tensor]:
    """
    Returns the tensors of a pickle.

    Raises:
        ValueError: If it holds anything else.
    """
    content = torch.load(source, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not content:
        raise ValueError(f"it holds a {type(content).__name__}, no tensors by name")
    tensors = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise ValueError(f"{str(name)[:60]!r} is no plain tensor")
        # Copies, since tensors of one storage cannot be stored.
        tensors[name] = value.detach().clone().contiguous()
    return tensors


def main(source: Path, output: Path) -> int:
    """Reads one file and writes another; says in one line what is wrong."""
    # What is imported on first use is imported before the fence is up.
    save_file({"a": torch.zeros(1)}, output)
    fence(source, output)
    try:
        save_file(read(source), output, metadata={"format": "pt"})
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
