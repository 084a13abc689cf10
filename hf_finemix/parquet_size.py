"""How much a parquet file becomes when it is read: a value that stands a million times is stored once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import InputError
from .memory import available_memory


_GB = 1e9
_ROWS_AT_ONCE = 65_536
_BYTES_AT_ONCE = 64 * 2**20
# What one value of a table costs in Python, beside the bytes of a text.
_PER_VALUE = 64


def check_parquet(path: Path, source: str, most_rows: int | None = None, most_bytes: int | None = None) -> None:
    """
    Refuses a parquet file that becomes too large when it is read, without reading it as a whole.

    Args:
        path (`Path`): The file.
        source (`str`): The argument and its value, for messages.
        most_rows (`int`, *optional*): Most rows; any number if not given.
        most_bytes (`int`, *optional*): Most bytes of its values; as many as memory has room for if not given.

    Raises:
        InputError: If it has more rows or bytes, or is damaged.
    """
    if most_bytes is None:
        most_bytes = available_memory()
    try:
        with pq.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            rows, columns = metadata.num_rows, metadata.num_columns
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            stored = sum(group.column(number).total_uncompressed_size for group in groups for number in range(columns))
            values = sum(group.column(number).num_values for group in groups for number in range(columns))
        if most_rows is not None and rows > most_rows:
            raise InputError(f"{source} has {rows:,} rows; give at most {most_rows:,}.")
        if most_bytes is not None:
            _check(stored + _PER_VALUE * values, most_bytes, source)
            _check_values(path, schema, source, most_bytes)
    except pa.ArrowException:
        raise InputError(f"{source} is no parquet file, or a damaged one.") from None


def _check_values(path: Path, schema: pa.Schema, source: str, most_bytes: int) -> None:
    texts = [field.name for field in schema if _is_text(field.type)]
    widest = max((field.type.byte_width for field in schema if pa.types.is_fixed_size_binary(field.type)), default=1)
    at_once = max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max(widest, 1)))
    found = 0
    # Texts stay as they are stored: each once, and where it stands.
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(at_once):
            found += batch.num_rows * batch.num_columns * _PER_VALUE
            found += sum(_size(column) for column in batch.columns)
            _check(found, most_bytes, source)


def _size(column: pa.Array) -> int:
    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return column.nbytes
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return pc.sum(lengths.take(column.indices)).as_py() or 0


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
    )


def _check(size: int, most: int, source: str) -> None:
    if size > most:
        raise InputError(
            f"{source} becomes more than {most / _GB:.1f} GB when it is read, which is too much; give fewer rows, or "
            "leave out columns that are not needed."
        )
