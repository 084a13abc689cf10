"""Headers of safetensors files: those of the format's own library are read and written, those that lie are refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from hf_finemix import InputError
from hf_finemix.safetensors_header import DTYPES, StoredTensor, make_header, order, read_file

from .streams import edit_header


ALL = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a.safetensors"
    save_file({"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.int8)}, target)
    return target


def test_what_the_library_writes_is_read_and_written_alike(tmp_path):
    path = tmp_path / "all.safetensors"
    generator = torch.Generator().manual_seed(0)
    content = {}
    for number, dtype in enumerate(ALL):
        for shape in ((), (3,), (0, 2), (2, 5)):
            values = torch.randint(0, 2, shape, generator=generator)
            content[f"größe.{number % 5}.{dtype}.{len(content)}"] = values.to(dtype)
    save_file(content, path, metadata={"format": "pt"})
    found = read_file(path, "the file")
    assert {tensor.name: tensor.shape for tensor in found.tensors} == {k: tuple(v.shape) for k, v in content.items()}
    data = path.read_bytes()
    for tensor in found.tensors:
        values = content[tensor.name].reshape(-1).view(torch.uint8)
        assert data[tensor.start : tensor.start + tensor.size] == values.numpy().tobytes()
    assert sorted(found.tensors, key=lambda tensor: order(tensor.name, tensor.dtype)) == list(found.tensors)
    begin = found.tensors[0].start
    moved = [StoredTensor(t.name, t.dtype, t.shape, t.start - begin, t.size) for t in found.tensors]
    assert data.startswith(make_header(moved)) and len(make_header(moved)) == begin
    assert {tensor.dtype for tensor in found.tensors} <= DTYPES.keys()


def test_a_file_that_was_touched_has_changed(path):
    found = read_file(path, "it")
    assert not found.has_changed()
    content = path.read_bytes()
    path.unlink()
    assert found.has_changed()
    path.write_bytes(content)
    assert found.has_changed()


def entry(header, **values):
    header["a"] |= values


def renamed(header):
    return json.dumps(header).replace('"b"', '"a"')


DAMAGE = {
    "comes after a gap": lambda header: _gap(header),
    "takes 24 bytes, but its dtype and shape ask for 20": lambda header: entry(header, shape=[5]),
    "takes 24 bytes, but its dtype and shape ask for 48": lambda header: entry(header, dtype="F64"),
    "was cut off": lambda header: _beyond(header),
    "holds bytes that belong to no tensor": lambda header: _short(header),
    "holds 'a' twice": renamed,
    "unknown dtype 'F99'": lambda header: entry(header, dtype="F99"),
    "unknown dtype": lambda header: entry(header, dtype=[1]),
    "shape or offsets that are none": lambda header: entry(header, shape=[-2, -3]),
    "offsets that are none": lambda header: entry(header, data_offsets=[0.0, 24.0]),
    "that are none": lambda header: entry(header, data_offsets=[True, 24]),
    "or offsets": lambda header: entry(header, data_offsets=[0, 24, 48]),
    "takes -24 bytes": lambda header: entry(header, data_offsets=[24, 0]),
    "a shape or": lambda header: entry(header, shape="23"),
    "is not described by dtype, shape and data_offsets": lambda header: entry(header, code="x"),
    "'c' is not described": lambda header: header.update(c=3),
    "metadata are no texts": lambda header: header.update(__metadata__={"format": 1}),
    "no JSON object": lambda header: "[]",
    "Expecting": lambda header: "{",
    "header holds NaN": lambda header: json.dumps(header).replace("[2, 3]", "[NaN, 3]"),
    "recursion": lambda header: '{"a":' + "[" * 100_000,
}


def _overlap(header):
    # `a` begins where `b` does, and both are as long as they should be.
    start = header["b"]["data_offsets"][0]
    header["b"]["data_offsets"] = [start - 4, start]


def _gap(header):
    header["b"] |= {"data_offsets": [26, 28], "shape": [2]}


def _beyond(header):
    header["b"] |= {"data_offsets": [24, 34], "shape": [10]}


def _short(header):
    header["b"] |= {"data_offsets": [24, 26], "shape": [2]}


DAMAGE["overlaps another tensor"] = _overlap


@pytest.mark.parametrize("words", DAMAGE)
def test_a_header_that_lies_is_refused_in_one_line(path, words):
    edit_header(path, DAMAGE[words])
    with pytest.raises(InputError) as error:
        read_file(path, "SUSPECT 'x'")
    message = str(error.value)
    assert message.startswith("SUSPECT 'x' has a damaged a.safetensors: ") and words in message, message
    assert "\n" not in message


NO_FILES = [b"", b"123", b"\xff" * 8, (10**9).to_bytes(8, "little") + b"{}", b"\x10" + b"\0" * 8]


@pytest.mark.parametrize("content", NO_FILES)
def test_what_is_no_such_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match="no safetensors file, or was cut off"):
        read_file(path, "it")


@pytest.mark.parametrize("length", [1, 30, 90])
def test_a_file_that_was_cut_off_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:-length])
    with pytest.raises(InputError, match="damaged"):
        read_file(path, "it")
