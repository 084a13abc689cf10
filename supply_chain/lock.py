"""Writes requirements.lock, requirements-cpu.lock and supply_chain/tools.lock; `make lock` runs it."""

import json
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("bench", "prescan", "sign", "ui", "wordfreq")
# What only PyPI's torch for Linux asks for.
CUDA = re.compile(r"cuda-|nvidia-|triton$")
# uv also looks at WebAssembly, where torch does not exist.
LEFT_OUT = ("httpx2-jsfetch",)
LOCK, CPU_LOCK = ROOT / "requirements.lock", ROOT / "requirements-cpu.lock"
TOOLS_LOCK = ROOT / "supply_chain" / "tools.lock"
LOCK_HEADER = """\
# What hf-finemix[bench,prescan,sign,ui,wordfreq] needs, for Python 3.11 or later on Linux, macOS and Windows.
#   pip install --require-hashes -r requirements.lock
#   pip install --no-deps hf-finemix
# On Linux torch is PyPI's CUDA build, with the libraries that it needs; requirements-cpu.lock is without.
# Made by `make lock` from pyproject.toml and constraints.txt. To renew torch, change its version there.
"""
CPU_HEADER = """\
# requirements.lock with PyTorch's CPU build, for CPython 3.11 on Linux (x86_64). That file is not on PyPI: pip has to
# be told of PyTorch's own index, or of a folder with the file.
#   pip install --require-hashes -r requirements-cpu.lock
#   pip install --no-deps hf-finemix
# Made by `make lock`, which renews torch here where pip finds that file.
"""
TOOLS_HEADER = "# The tools of the supply chain, installed into .tools. Made by `make lock` from tools.in.\n"


def resolved(source: str, *options: str) -> dict[str, str]:
    """Lets uv resolve what a file asks for.

    Args:
        source: The file, relative to the repository.
        options: Further options of `uv pip compile`.

    Returns:
        The entry of each package by its normalised name, with hashes.

    Raises:
        subprocess.CalledProcessError: If uv finds no solution.
    """
    command = [sys.executable, "-m", "uv", "pip", "compile", source, *options]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    # pip takes `pydantic==...` for no pin of `pydantic[email]`.
    command += ["--no-strip-extras"]
    for name in LEFT_OUT:
        command += ["--no-emit-package", name]
    written = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return entries(written)


def entries(text: str) -> dict[str, str]:
    """Cuts a requirements file with hashes into its entries.

    Args:
        text: The file's content.

    Returns:
        The entry of each package by its name without extras, hashes included.
    """
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    found = re.split(r"^(?=\S)", lines, flags=re.MULTILINE)
    return {re.split(r"\[|==", entry)[0]: entry for entry in found if entry.strip()}


def cpu_build(pin: str, earlier: str) -> str:
    """Finds PyTorch's CPU build.

    Args:
        pin: torch and its version, as in "torch==2.13.0+cpu".
        earlier: The entry that the lock held before, or an empty string.

    Returns:
        The entry with the sha256 of the file that pip finds for this Python; without one, the earlier entry, if it is
        of the same version.

    Raises:
        SystemExit: If there is neither.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    result = subprocess.run([*command, "--report", "-", pin], capture_output=True, text=True)
    if result.returncode == 0:
        (file,) = json.loads(result.stdout)["install"]
        return f"{pin} \\\n    --hash=sha256:{file['download_info']['archive_info']['hashes']['sha256']}\n"
    if earlier.split()[:1] != [pin]:
        sys.exit(f"pip finds no {pin}; tell it of PyTorch's own index (PIP_EXTRA_INDEX_URL).")
    print(f"pip finds no {pin}; its hash is kept from the earlier lock", file=sys.stderr)
    return earlier


def main() -> None:
    """Writes the files."""
    extras = [f"--extra={extra}" for extra in EXTRAS]
    found = resolved("pyproject.toml", "--constraints=constraints.txt", *extras)
    earlier = entries(CPU_LOCK.read_text(encoding="utf-8")).get("torch", "") if CPU_LOCK.exists() else ""
    cpu = {name: entry for name, entry in found.items() if not CUDA.match(name)}
    cpu["torch"] = cpu_build(found["torch"].split()[0] + "+cpu", earlier)
    tools = resolved("supply_chain/tools.in")
    written = [(LOCK, LOCK_HEADER, found), (CPU_LOCK, CPU_HEADER, cpu), (TOOLS_LOCK, TOOLS_HEADER, tools)]
    for path, header, part in written:
        text = header + "".join(part.values())
        # Else make would install the same tools again.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(part)} packages, {text.count('--hash=')} hashes")


if __name__ == "__main__":
    main()
