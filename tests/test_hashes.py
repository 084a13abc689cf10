"""Hashes of tensors and files, and the lists that they are described in."""

import hashlib

import numpy as np
import pytest
import torch

from hf_finemix.hashes import describe_files, describe_tensors, sha256_file, sha256_tensor


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("dtype", "content"),
    [
        (torch.float32, np.array([1.5, -2, 0], "<f4").tobytes()),
        (torch.float16, np.array([1.5, -2, 0], "<f2").tobytes()),
        # The upper half of a float32.
        (torch.bfloat16, bytes.fromhex("c03f00c00000")),
        (torch.float64, np.array([1.5, -2, 0], "<f8").tobytes()),
    ],
)
def test_hash_of_a_tensor_is_that_of_its_bytes(dtype, content):
    tensor = torch.tensor([1.5, -2, 0], dtype=dtype)
    assert sha256_tensor(tensor) == sha256(content)
    assert sha256_tensor(torch.nn.Parameter(tensor)) == sha256(content)
    assert sha256_tensor(tensor.reshape(3, 1)) == sha256(content)


@pytest.mark.parametrize(
    ("tensor", "content"),
    [
        (torch.tensor([1, -1]), np.array([1, -1], "<i8").tobytes()),
        (torch.tensor([True, False]), b"\x01\x00"),
        (torch.tensor(7, dtype=torch.int32), b"\x07\x00\x00\x00"),
        (torch.empty(0), b""),
        (torch.empty(3, 0, dtype=torch.bfloat16), b""),
    ],
    ids=["int64", "bool", "zero-dimensional", "empty", "empty bfloat16"],
)
def test_hash_of_other_tensors(tensor, content):
    assert sha256_tensor(tensor) == sha256(content)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.T,
        lambda t: t[:, 1],
        lambda t: t[::2],
        lambda t: t[1:],
        lambda t: t[0].expand(5, 3),
        lambda t: t.flip(0),
    ],
    ids=["transposed", "column", "stepped", "offset", "expanded", "flipped"],
)
def test_hash_goes_in_row_major_order(view):
    tensor = view(torch.arange(12, dtype=torch.float32).reshape(4, 3))
    assert sha256_tensor(tensor) == sha256(np.array(tensor.tolist(), "<f4").tobytes())


def test_hash_tells_zero_from_minus_zero():
    assert sha256_tensor(torch.tensor(0.0)) != sha256_tensor(torch.tensor(-0.0))


def test_tensors_are_described_in_the_given_order():
    tensors = [("b", torch.ones(2, 3, dtype=torch.bfloat16)), ("a", torch.tensor(1.0)), ("c", torch.empty(0, 2))]
    described = describe_tensors(tensors)
    assert [(item.name, item.dtype, item.shape) for item in described] == [
        ("b", "bfloat16", (2, 3)),
        ("a", "float32", ()),
        ("c", "float32", (0, 2)),
    ]
    assert [item.sha256 for item in described] == [sha256_tensor(tensor) for _, tensor in tensors]


def test_files_are_described_in_the_order_of_their_names(tmp_path):
    (tmp_path / "sub").mkdir()
    contents = {"b.txt": b"b", "a.txt": b"", "sub/c.bin": bytes(5_000_000), "B.txt": b"B"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    described = describe_files(tmp_path, iter(contents))
    assert [item.name for item in described] == ["B.txt", "a.txt", "b.txt", "sub/c.bin"]
    assert all(
        (item.size, item.sha256) == (len(contents[item.name]), sha256(contents[item.name])) for item in described
    )
    assert sha256_file(tmp_path / "sub/c.bin") == sha256(bytes(5_000_000))
