"""Safetensors files without the library's Rust part, which WebAssembly, and so a browser, does not have.

`storage` uses it where `safetensors` cannot be imported, and nowhere else. It has of the library what is used here, by
the same names: `save`, `safe_open` and `SafetensorError`. The format: the length of the header in 8 bytes,
little-endian; the header, a JSON table from each array's name to its type, shape and place; then the arrays' bytes,
without gaps. See https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

from numpy import dtype, frombuffer

from .backend import Array

# In the order in which the library stores arrays of different types, from the last to the first.
TYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16", "I32": "int32",
    "U32": "uint32", "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip
NAMES = {type_: name for name, type_ in TYPES.items()}
LONGEST = 100_000_000  # bytes of a header: the library's own limit


class SafetensorError(Exception):
    """A file is not what the format says."""


def save(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """A file's content.

    Raises
    ------
    SafetensorError
        If an array's type is none of the format's.
    """
    for name, a in arrays.items():
        if a.dtype.name not in NAMES:
            raise SafetensorError(f"{name}: no array of {a.dtype} can be stored")
    rank = list(TYPES.values())
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts, place = [], 0
    for name in sorted(arrays, key=lambda name: (-rank.index(arrays[name].dtype.name), name)):
        a = arrays[name]
        parts.append(a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes())
        end = place + len(parts[-1])
        header[name] = {"dtype": NAMES[a.dtype.name], "shape": list(a.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # what follows is aligned
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


@contextmanager
def safe_open(path: str | os.PathLike[str], framework: str) -> Iterator[File]:
    """A file, read whole and checked.

    Raises
    ------
    SafetensorError
        If it is not what the format says.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        yield File(file.read())


class File:
    """What a file holds."""

    def __init__(self, content: bytes) -> None:
        length = int.from_bytes(content[:8], "little")
        if len(content) < 8 or length > min(LONGEST, len(content) - 8):
            raise SafetensorError("the header is longer than the file")
        text, self._data = content[8 : 8 + length], memoryview(content)[8 + length :]
        if not text.startswith(b"{"):
            raise SafetensorError("the header does not begin with {")
        try:
            header = json.loads(text.decode(), object_pairs_hook=_table)
        except (ValueError, RecursionError) as error:
            raise SafetensorError(f"the header is no JSON: {error}") from error
        self._metadata = header.pop("__metadata__", None)
        if self._metadata is not None and not _is_texts(self._metadata):
            raise SafetensorError("the metadata are no table of texts")
        self._entries = header
        end = 0
        for name, entry in sorted(header.items(), key=lambda item: _place(*item)):
            first, end = _place(name, entry)[0] - end, _place(name, entry)[1]
            if first:
                raise SafetensorError(f"{name} does not begin where the array before it ends")
        if end != len(self._data):
            raise SafetensorError(f"the arrays take {end} bytes, the file has {len(self._data)}")

    def keys(self) -> list[str]:
        return list(self._entries)

    def metadata(self) -> dict[str, str] | None:
        metadata: dict[str, str] | None = self._metadata
        return metadata

    def get_tensor(self, name: str) -> Array:
        """A copy, which may be changed."""
        entry = self._entries[name]
        first, end = entry["data_offsets"]
        stored = dtype(TYPES[entry["dtype"]]).newbyteorder("<")
        return frombuffer(self._data[first:end], stored).reshape(entry["shape"]).astype(TYPES[entry["dtype"]])


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name is there twice")
    return table


def _is_texts(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Where an array begins and ends, once its entry has proved to be one that fits."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise SafetensorError(f"{name} has no type, shape and place")
    kind, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in TYPES:
        raise SafetensorError(f"{name} is of an unknown type")
    if not _is_sizes(shape) or not _is_sizes(place) or len(place) != 2:
        raise SafetensorError(f"{name} has a shape or a place that is none")
    if place[1] - place[0] != prod(shape) * dtype(TYPES[kind]).itemsize:
        raise SafetensorError(f"{name} has a place of another size than its type and shape need")
    return place[0], place[1]


def _is_sizes(sizes: Any) -> bool:
    return isinstance(sizes, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in sizes)
