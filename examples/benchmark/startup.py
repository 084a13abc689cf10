"""
How long until hf-finemix is there? Imports and `--help`, each in a new process, in turns.

    python examples/benchmark/startup.py --output examples/benchmark/results/startup.json

Writes every time as JSON and a table of medians as Markdown. Ends with status 1 if a promise is broken: `--help` in
under 1 s, `import hf_finemix` in at most 1.1 times the time of `import transformers`, the trainer's import likewise.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from hf_finemix.results import environment


SCRIPT = str(Path(sysconfig.get_path("scripts"), "hf-finemix"))
PROGRAMS = {
    "an empty program": [sys.executable, "-c", "pass"],
    "hf-finemix --help": [SCRIPT, "--help"],
    "import transformers": [sys.executable, "-c", "import transformers"],
    "import hf_finemix": [sys.executable, "-c", "import hf_finemix"],
    "from transformers import Trainer": [sys.executable, "-c", "from transformers import Trainer"],
    "from hf_finemix import FineMixTrainer": [sys.executable, "-c", "from hf_finemix import FineMixTrainer"],
}
# What may take at most so many times as long as what.
RATIOS = (
    ("import hf_finemix", "import transformers", 1.1),
    ("from hf_finemix import FineMixTrainer", "from transformers import Trainer", 1.1),
)
HELP_SECONDS = 1.0


def timed(command: list[str]) -> tuple[float, float]:
    """Runs a program to its end.

    Args:
        command: The program and its arguments.

    Returns:
        The seconds that passed, and the seconds that a processor spent on it.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    passed, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return passed, spent


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Times all programs in turns, after one round that does not count.

    Args:
        rounds: How often each is timed.

    Returns:
        The seconds that passed and those of the processor, in the order in which they were measured, by program.
    """
    times = {name: {"passed": [], "processor": []} for name in PROGRAMS}
    for round_ in range(rounds + 1):
        for name, command in PROGRAMS.items():
            passed, spent = timed(command)
            if round_:
                times[name]["passed"].append(passed)
                times[name]["processor"].append(spent)
    return times


def ratio(times: dict[str, dict[str, list[float]]], ours: str, theirs: str, clock: str) -> float:
    """How many times as long as `theirs` does `ours` take? By the medians."""
    return statistics.median(times[ours][clock]) / statistics.median(times[theirs][clock])


def broken(times: dict[str, dict[str, list[float]]]) -> list[str]:
    """The promises that these times break, in words."""
    found = []
    if (seconds := statistics.median(times["hf-finemix --help"]["passed"])) >= HELP_SECONDS:
        found.append(f"hf-finemix --help took {seconds:.2f} s, not under {HELP_SECONDS:g} s")
    for ours, theirs, most in RATIOS:
        if (times_as_long := ratio(times, ours, theirs, "passed")) > most:
            found.append(f"{ours} took {times_as_long:.2f} times as long as {theirs}, not at most {most:g} times")
    return found


def table(results: dict, source: str) -> str:
    """The results as a page of Markdown.

    Args:
        results: What `main` writes as JSON.
        source: The name of that file.

    Returns:
        The page.
    """
    times, rounds = results["seconds"], results["rounds"]
    lines = [
        "# Start-up",
        "",
        f"Each program {rounds} times, in a new process each, in turns. Medians in seconds; smallest and largest in",
        "brackets. The processor's time is what other work on the machine disturbs less.",
        "",
        "| | passed | processor |",
        "|---|---:|---:|",
    ]
    for name, clocks in times.items():
        cells = [f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in clocks.values()]
        lines.append(
            f"| `{name}` | {' | '.join(cells)} |" if " program" not in name else f"| {name} | {' | '.join(cells)} |"
        )
    lines += ["", "| | times as long as | passed | processor | promised |", "|---|---|---:|---:|---:|"]
    for ours, theirs, most in RATIOS:
        cells = [f"{ratio(times, ours, theirs, clock):.3f}" for clock in ("passed", "processor")]
        lines.append(f"| `{ours}` | `{theirs}` | {' | '.join(cells)} | at most {most:g} |")
    versions = results["environment"]
    lines += [
        "",
        f"`hf-finemix --help` is promised in under {HELP_SECONDS:g} s. "
        f"{'; '.join(results['broken']).capitalize() or 'No promise is broken'}.",
        "",
        f"transformers {versions['transformers']}, torch {versions['torch']}. Every time: [{source}]({source}).",
        "",
        "    python examples/benchmark/startup.py --output examples/benchmark/results/startup.json",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Times the programs and writes the results.

    Returns:
        The exit status: 0 if every promise holds, 1 otherwise.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file of every time")
    parser.add_argument(
        "--page",
        type=Path,
        default=Path(__file__).with_suffix(".md"),
        help="Markdown page (default: beside this file)",
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often each program is timed (default: 9)")
    args = parser.parse_args()
    times = measure(args.rounds)
    results = {"environment": environment(), "rounds": args.rounds, "seconds": times, "broken": broken(times)}
    args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    source = os.path.relpath(args.output, args.page.parent)
    args.page.write_text(table(results, source), encoding="utf-8")
    print(*results["broken"] or ["every promise holds"], sep="\n")
    return 1 if results["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
