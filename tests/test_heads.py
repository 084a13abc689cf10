"""What one label of a head has that the others lack."""

import pytest
import torch

from hf_finemix.heads import Head, describe_head


def test_norms_cosines_and_biases():
    weight = torch.tensor([[3.0, 4.0], [0.0, 1.0], [2.0, 0.0]])
    head = describe_head("classifier.weight", weight, torch.tensor([0.5, -1.0, 0.0]), ["a", "b", "c"])
    assert head.weight == "classifier.weight"
    assert [(item.id, item.label, item.norm) for item in head.labels] == [(0, "a", 5), (1, "b", 1), (2, "c", 2)]
    assert [item.ratio for item in head.labels] == pytest.approx([5 / 1.5, 1 / 3.5, 2 / 3])
    assert [(item.nearest, item.cosine) for item in head.labels] == [
        (1, pytest.approx(0.8)),
        (0, pytest.approx(0.8)),
        (0, pytest.approx(0.6)),
    ]
    assert [item.bias for item in head.labels] == [0.5, -1, 0]
    assert [item.bias_above for item in head.labels] == [1, -1.25, 0.25]


def test_two_labels_and_no_bias():
    head = describe_head("score.weight", torch.tensor([[1.0, 0.0], [-4.0, 0.0]]).bfloat16(), None, ["no", "yes"])
    assert [(item.ratio, item.cosine, item.nearest) for item in head.labels] == [(0.25, -1, 1), (4, -1, 0)]
    assert all(item.bias is None and item.bias_above is None for item in head.labels)


def test_rows_of_zeros_have_no_direction_and_make_no_ratio():
    head = describe_head("w", torch.tensor([[0.0, 0.0], [3.0, 0.0]]), None, ["a", "b"])
    assert [(item.norm, item.ratio, item.cosine) for item in head.labels] == [(0, 0, 0), (3, None, 0)]
    assert Head.from_dict(head.to_dict()) == head
