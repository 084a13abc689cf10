"""What a report says about a trainer's data and figures."""

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset

from hf_finemix import job_report
from hf_finemix.job_report import describe_dataset, script_metrics


ROWS = [{"input_ids": [1, 2], "labels": 0}, {"input_ids": [3], "labels": 1}]


class Endless(torch.utils.data.Dataset):
    """A data set that does not end when it is iterated over, as torch allows."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return ROWS[index % 2]


def tensors(rows):
    return [{name: torch.tensor(value) for name, value in row.items()} for row in rows]


def arrays(rows):
    return [{name: np.array(value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("form", [list, tensors, arrays, Dataset.from_list, lambda rows: Endless()])
def test_the_same_rows_have_the_same_fingerprint_in_any_form(form):
    record = describe_dataset(form(ROWS))
    assert (record.rows, record.fingerprint) == (2, describe_dataset(ROWS).fingerprint)


def test_a_format_does_not_change_it():
    dataset = Dataset.from_list(ROWS)
    assert describe_dataset(dataset.with_format("torch")) == describe_dataset(dataset)


def test_other_rows_have_another():
    assert describe_dataset(ROWS[::-1]).fingerprint != describe_dataset(ROWS).fingerprint


def test_rows_without_a_plain_form_have_none():
    assert describe_dataset([{"picture": object()}]).fingerprint is None


def test_many_rows_are_not_read(monkeypatch):
    monkeypatch.setattr(job_report, "_MOST_ROWS", 1)
    record = describe_dataset(ROWS)
    assert (record.rows, record.fingerprint) == (2, None)


def test_data_without_a_length_are_not_described():
    assert describe_dataset(None) is None
    assert describe_dataset(IterableDataset.from_generator(lambda: iter(ROWS))) is None


def test_metrics_are_those_of_the_last_evaluation_without_its_run_time():
    history = [
        {"eval_accuracy": 0.1, "eval_runtime": 1.0},
        {
            "eval_accuracy": 0.5,
            "eval_loss": float("nan"),
            "eval_runtime": 1.0,
            "eval_samples_per_second": 9.0,
            "eval_steps_per_second": 2.0,
            "epoch": 1,
        },
        {"train_loss": 0.3},
    ]
    assert script_metrics(history) == {"eval_accuracy": 0.5}
    assert script_metrics([]) == {}
