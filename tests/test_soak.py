"""Two hundred purifications in one process: memory, open files and threads stay as they are."""

import gc
import os
import shutil
import threading
from pathlib import Path

import pytest

from hf_finemix import purify
from hf_finemix.results import Distillation, Recipe


RUNS, WARM = 200, 40
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def state():
    """What is in use: memory in MB, open files, threads."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd")), threading.active_count()


def test_nothing_grows(place, capsys, record_property):
    recipe, distillation = Recipe(1, 1e-4, 4, 16, "vocabulary", 1), Distillation(epochs=0)
    states = []
    for number in range(RUNS):
        result = purify(
            place.suspect,
            place.base,
            place.clean,
            output=place.output,
            recipe=recipe,
            distillation=distillation,
            evaluation_dataset=place.clean,
        )
        assert result.report.evaluations["purified"].accuracy.n == 12
        del result
        shutil.rmtree(place.output)
        if number % 10 == 9:
            states.append(state())
    with capsys.disabled():
        for number, (memory, files, threads) in enumerate(states, start=1):
            print(f"{10 * number:4d} runs: {memory:7.1f} MB, {files} files, {threads} threads")
    memory, files, threads = zip(*states[WARM // 10 :], strict=True)
    assert max(files) == min(files) and max(threads) == min(threads)
    # The allocator takes and gives back; a leak of 0.1 MB a run would be 16.
    assert max(memory[-4:]) - max(memory[:4]) < 16
