"""The rule that chooses a setting, and who runs the jobs."""

import os

import pytest
import torch

from hf_finemix.laboratory.executors import InProcess, Processes
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


def test_no_jobs():
    assert list(InProcess().run([])) == list(Processes(2).run([])) == []
