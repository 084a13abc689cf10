"""
Mutation testing of the pure functions: each mutant of cosmic-ray is tested in a fork that has torch already.

    python tests/mutation.py run SESSION         mutants that SESSION, a new or unfinished file, has no result of
    python tests/mutation.py again SESSION [-k]  those that survived, with all tests or those that pytest's -k chooses
    python tests/mutation.py report SESSION      counts, and the survivors

What is mutated is a copy in a temporary folder. Settings are in `mutation.toml`; docs/mutation.md says more.
"""

import os


# Before NumPy and torch start threads, which no fork would have.
os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HF_HUB_OFFLINE": "1"}

import gc
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
from transformers import (  # noqa: F401  what the tests import, ready in each fork
    BertForSequenceClassification,
    DistilBertForSequenceClassification,
    GPT2LMHeadModel,
    RobertaForSequenceClassification,
)


ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "tests" / "mutation.toml").read_text())
LIMITS = SETTINGS["limits"]
MODULES = SETTINGS["cosmic-ray"]["module-path"]
# What ends a fork whose time is over: the kernel on the processor's time, or this process on the clock's.
LATE = (signal.SIGXCPU, signal.SIGKILL)


def run_tests(module, chosen, processor=None):
    """Runs the tests of a module in a fork; returns how it ended, its last lines and its seconds of processor time."""
    output = Path("output.txt")
    child = os.fork()
    if not child:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        if processor:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            memory = pages * resource.getpagesize() + LIMITS["memory"]
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 1))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        options = ["-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--tb=line"]
        ended = pytest.main([*options, "-k", chosen, *SETTINGS["tests"][module]])
        sys.stdout.flush()
        os._exit(int(ended))
    began = time.monotonic()
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() - began > LIMITS["clock"]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    last, seconds = " | ".join(output.read_text(errors="replace").splitlines()[-3:]), usage.ru_utime + usage.ru_stime
    if os.WIFSIGNALED(status):
        return ("timed out" if os.WTERMSIG(status) in LATE else "crashed"), last, seconds
    if status == 0:
        return "survived", last, seconds
    # What pytest calls an error happened before the first test, where the module is imported.
    return ("import failed" if "1 error in" in last else "test failed"), last, seconds


def measure(chosen):
    """Returns how long the tests of each module may take, in seconds of processor time; they must pass."""
    limits = {}
    for module in MODULES:
        began = time.monotonic()
        ended, last, seconds = run_tests(module, chosen)
        if ended != "survived":
            raise SystemExit(f"The tests of {module} fail without a mutation: {last}")
        limits[module] = max(2, int(LIMITS["processor"] * seconds) + 1)
        print(f"{module}: {seconds:.1f} s of processor time, {time.monotonic() - began:.0f} s", flush=True)
    # From here on mutants would be read from, or leave, compiled files that are not theirs.
    sys.dont_write_bytecode = True
    for module in MODULES:
        for compiled in Path("hf_finemix/__pycache__").glob(f"{Path(module).stem}.*"):
            compiled.unlink()
    return limits


def try_mutants(session, items, chosen):
    """Tests mutants in a copy of the package, and writes into the session how each ended."""
    with tempfile.TemporaryDirectory() as made:
        folder = os.path.realpath(made)
        for name in ("hf_finemix", "tests"):
            shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        os.chdir(folder)
        sys.path.insert(0, folder)
        if not find_spec("hf_finemix").origin.startswith(folder):
            raise SystemExit("Another hf_finemix than the mutated copy would be tested.")
        torch.set_num_threads(1)
        gc.freeze()
        limits = measure(chosen)
        for number, item in enumerate(items, 1):
            (mutation,) = item.mutations
            operator = get_operator(mutation.operator_name)(**mutation.operator_args)
            module = str(mutation.module_path)
            with use_mutation(mutation.module_path, operator, mutation.occurrence) as (_, mutated):
                ended, last, seconds = run_tests(module, chosen, limits[module])
            line = mutated.splitlines()[mutation.start_pos[0] - 1].strip()
            outcome = TestOutcome.SURVIVED if ended == "survived" else TestOutcome.KILLED
            session.set_result(item.job_id, WorkResult(WorkerOutcome.NORMAL, f"{ended}\n{last}", outcome, line))
            print(f"{number}/{len(items)} {ended}, {seconds:.1f} s: {mutation.operator_name} {line}", flush=True)


def report(session):
    """Prints how many mutants of each module ended how, and the mutated lines of those that survived."""
    done = session.completed_work_items
    for module in MODULES:
        mine = [(item, result) for item, result in done if str(item.mutations[0].module_path) == module]
        total = sum(str(item.mutations[0].module_path) == module for item in session.work_items)
        ends = Counter(result.output.splitlines()[0] for _, result in mine)
        print(f"{module}: {total} mutants, {len(mine)} tested; {dict(ends)}")
        lived = [(item.mutations[0], result) for item, result in mine if not result.is_killed]
        for mutation, result in sorted(lived, key=lambda pair: (pair[0].start_pos, pair[0].operator_name)):
            print(f"  {mutation.start_pos[0]}: {mutation.operator_name.removeprefix('core/')}: {result.diff}")


def main(command, path, chosen=f"not ({LIMITS['skipped']})"):
    """Runs a command; see the top."""
    session = WorkDB(Path(path).resolve(), WorkDB.Mode.create)
    os.chdir(ROOT)
    if command == "run" and not session.num_work_items:
        init([Path(module) for module in MODULES], session, {})
    if command == "run":
        items = sorted(session.pending_work_items, key=lambda item: str(item.mutations[0].module_path))
        try_mutants(session, items, chosen)
    if command == "again":
        items = [item for item, result in session.completed_work_items if not result.is_killed]
        try_mutants(session, items, chosen)
    report(session)


if __name__ == "__main__":
    main(*sys.argv[1:])
