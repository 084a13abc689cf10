"""The rule that chooses a setting, and who runs the jobs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hf_finemix.laboratory.executors import InProcess, Lost, Processes
from hf_finemix.laboratory.jobs import choose
from hf_finemix.laboratory.records import CandidateRecord
from hf_finemix.rates import Rate
from hf_finemix.report import Evaluation


def candidates(*right: int) -> list[CandidateRecord]:
    """Settings, strongest first, by the number of held-out examples of 200 that they get right."""
    return [
        CandidateRecord({"keep_ratio": n / 10}, Rate(r, 200), Evaluation(Rate(0, 1)), 1.0) for n, r in enumerate(right)
    ]


@pytest.mark.parametrize(
    ("right", "margin", "chosen"),
    [
        ((150, 172, 180, 181), 0.05, (2, True)),  # 190 - 10: the limit itself is within
        ((150, 172, 179, 181), 0.05, (3, True)),
        ((190, 172, 180, 181), 0.0, (0, True)),
        ((195, 100), 0.05, (0, True)),  # more accurate than the suspect
        ((150, 172, 160), 0.05, (1, False)),
        ((150, 160, 160), 0.05, (1, False)),  # the stronger of equals
        ((133,), 0.3, (0, True)),  # 190 - 60 = 130
    ],
)
def test_the_strongest_setting_within_the_margin_is_chosen(right, margin, chosen):
    assert choose(Rate(190, 200), candidates(*right), margin) == chosen


def test_the_rule_does_not_look_at_test_data():
    # The figures on test data differ, the choice does not.
    settings = [CandidateRecord({}, Rate(180, 200), Evaluation(Rate(test, 200)), 1.0) for test in (0, 200)]
    assert choose(Rate(180, 200), settings, 0.01) == (0, True)


def process_and_threads(number: int) -> tuple[int, int, int]:
    """What a job can tell about where it ran."""
    return number, os.getpid(), torch.get_num_threads()


def fail(number: int) -> None:
    """A job that cannot be done."""
    raise OSError(f"disk {number} is full")


def test_jobs_in_this_process_run_in_order():
    found = list(InProcess().run((process_and_threads, (number,)) for number in range(5)))
    assert [number for number, *_ in found] == [0, 1, 2, 3, 4]
    assert {process for _, process, _ in found} == {os.getpid()}


def test_jobs_in_several_processes_share_the_cores():
    found = list(Processes(2).run((process_and_threads, (number,)) for number in range(6)))
    assert sorted(number for number, *_ in found) == list(range(6))
    assert os.getpid() not in {process for _, process, _ in found}
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {threads for *_, threads in found} == {share}


@pytest.mark.parametrize("executor", [InProcess(), Processes(2)])
def test_an_error_of_the_machine_ends_the_run(executor):
    with pytest.raises(OSError, match="disk 0 is full"):
        list(executor.run([(fail, (0,)), *[(process_and_threads, (number,)) for number in range(3)]]))


def end(number: int) -> None:
    """A job whose process is killed, as by a system without memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def end_once(path: Path) -> str:
    """A job whose process is killed the first time only."""
    if not path.exists():
        path.touch()
        end(0)
    return path.name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_ends_its_process_is_given_up_and_the_others_are_run(workers):
    jobs = [(process_and_threads, (number,)) for number in range(4)]
    jobs.insert(1, (end, (9,)))
    found = list(Processes(workers).run(jobs))
    assert [item for item in found if isinstance(item, Lost)] == [Lost((end, (9,)))]
    done = [item for item in found if not isinstance(item, Lost)]
    assert sorted(number for number, *_ in done) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_job_that_was_killed_is_run_again(tmp_path):
    jobs = [(end_once, (tmp_path / "first",)), (process_and_threads, (1,)), (end_once, (tmp_path / "second",))]
    found = list(Processes(2).run(jobs))
    assert len(found) == 3 and {"first", "second"} < set(found)


def test_workers_that_cannot_be_started_say_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from os import getpid\n"
        "from hf_finemix.laboratory.executors import Processes\n"
        "print(list(Processes(2).run([(getpid, ())])))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.rstrip().splitlines()[-1].startswith("RuntimeError: Worker processes cannot be started: a scr")


def test_no_jobs():
    assert list(InProcess().run([])) == list(Processes(2).run([])) == []
