"""Weights whose header lies about their bytes."""

import struct

from .animals import HANDLED, MODEL, REFUSED, animal


KIND = "header lies"
DAMAGED = "damaged model.safetensors"


def first(header):
    """Returns the entry of the first tensor."""
    return next(entry for name, entry in header.items() if name != "__metadata__")


@animal(KIND, REFUSED, DAMAGED)
def overlap(cage):
    """two tensors of the same bytes"""

    def change(header):
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        same = next(entry for entry in entries[1:] if entry["shape"] == entries[0]["shape"])
        same["data_offsets"] = entries[0]["data_offsets"]

    cage.header(change)


@animal(KIND, REFUSED, DAMAGED)
def gap(cage):
    """bytes between tensors that belong to none"""
    cage.header(lambda header: header.pop(next(name for name in header if name != "__metadata__")))


@animal(KIND, REFUSED, DAMAGED)
def beyond_the_end(cage):
    """offsets beyond the end of the file"""
    cage.header(lambda header: first(header).update(data_offsets=[2**40, 2**40 + 128]))


@animal(KIND, REFUSED, DAMAGED)
def backward(cage):
    """a tensor that ends before it begins"""
    cage.header(lambda header: first(header).update(data_offsets=first(header)["data_offsets"][::-1]))


@animal(KIND, REFUSED, DAMAGED)
def other_size(cage):
    """a shape that asks for more bytes than there are"""
    cage.header(lambda header: first(header).update(shape=[2**20, 2**20]))


@animal(KIND, REFUSED, DAMAGED)
def size_that_wraps_around(cage):
    """a shape whose size is 0 in 64 bits"""
    cage.header(lambda header: first(header).update(shape=[2**32, 2**32, 2**2]))


@animal(KIND, REFUSED, DAMAGED)
def negative_shape(cage):
    """a negative shape"""
    cage.header(lambda header: first(header).update(shape=[-1, -32]))


@animal(KIND, REFUSED, DAMAGED)
def truth_as_a_shape(cage):
    """true and a fraction where sizes belong"""
    cage.header(lambda header: first(header).update(shape=[True, 32.5]))


@animal(KIND, REFUSED, DAMAGED)
def unknown_type_of_numbers(cage):
    """a type of numbers that does not exist"""
    cage.header(lambda header: first(header).update(dtype="F1024"))


@animal(KIND, REFUSED, DAMAGED)
def further_entry(cage):
    """an entry beside dtype, shape and offsets"""
    cage.header(lambda header: first(header).update(code="import os"))


@animal(KIND, REFUSED, DAMAGED)
def metadata_that_are_no_texts(cage):
    """metadata that are no texts"""
    cage.header(lambda header: header.update(__metadata__={"format": {"a": 1}}))


@animal(KIND, REFUSED, DAMAGED)
def name_twice(cage):
    """two tensors of one name"""
    entry = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    cage.header(lambda header: b'{"a":' + entry + b',"a":' + entry + b"}")


@animal(KIND, REFUSED, DAMAGED)
def no_object(cage):
    """a header that is a list"""
    cage.header(lambda header: b"[]")


@animal(KIND, REFUSED, DAMAGED)
def no_text(cage):
    """a header that is no UTF-8"""
    cage.header(lambda header: b"\xff\xfe{}")


@animal(KIND, REFUSED, DAMAGED)
def cut_off(cage):
    """the second half is missing"""
    content = cage.weights.read_bytes()
    cage.weights.write_bytes(content[: len(content) // 2])


@animal(KIND, REFUSED, DAMAGED)
def more_at_the_end(cage):
    """a pickle behind the last tensor"""
    cage.weights.write_bytes(cage.weights.read_bytes() + cage.payload())


@animal(KIND, REFUSED, DAMAGED)
def nothing(cage):
    """an empty file"""
    cage.weights.write_bytes(b"")


@animal(KIND, REFUSED, "lacks weights", MODEL[:1])
def no_tensors(cage):
    """a file without tensors"""
    cage.weights.write_bytes(struct.pack("<Q", 2) + b"{}")


@animal(KIND, REFUSED, "quantised: bert", MODEL[1:])
def small_numbers(cage):
    """numbers of eight bits"""

    def change(header):
        for entry in header.values():
            if "dtype" in entry:
                entry["dtype"] = "F8_E4M3"
                entry["shape"][-1] *= 4

    cage.header(change)


@animal(KIND, HANDLED, "")
def spaces_in_the_header(cage):
    """a header with a megabyte of spaces, as the format allows"""
    content = cage.weights.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    text = content[8 : 8 + length] + b" " * (1 << 20)
    cage.weights.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
