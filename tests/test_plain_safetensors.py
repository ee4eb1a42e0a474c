"""The reader and writer of safetensors files in Python: against the library, byte for byte and refusal for refusal."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tinyadv import plain_safetensors as plain
from tinyadv import storage

ABOUT = {"name": "größer", "number": 0.1}


@pytest.fixture
def arrays(rng):
    """Of every type, of ranks 0 to 3, and empty ones; names with what JSON escapes."""
    found = {f"{letter}/{i}": rng.uniform(0, 9, size=(2, 3)).astype(type_)
             for i, type_ in enumerate(plain.NAMES) for letter in "ba"}  # fmt: skip
    found |= {"scalar": np.array(2.5), "empty": np.zeros((0, 3), "float32"), "deep": np.ones((2, 1, 3), "int16")}
    return found | {'quoted "ä" \\ \n': np.arange(3.0)}


def in_order(content: bytes) -> bytes:
    return storage._in_order(content)


def read(opener, path):
    with opener(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, a in wanted.items():
        assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
        assert found[name].tobytes() == a.tobytes()
        assert found[name].flags.writeable


@pytest.mark.parametrize("metadata", [None, {"about": "größer", "b": ""}])
def test_it_writes_the_library_s_bytes(arrays, metadata):
    assert in_order(plain.save(arrays, metadata)) == in_order(save(arrays, metadata))
    assert len(plain.save(arrays, metadata)) == len(save(arrays, metadata))


@pytest.mark.parametrize("metadata", [None, {"about": "größer", "b": ""}])
def test_each_reads_what_the_other_wrote(arrays, metadata, tmp_path):
    for write, opener in ((save, plain.safe_open), (plain.save, safe_open), (plain.save, plain.safe_open)):
        (tmp_path / "file").write_bytes(write(arrays, metadata))
        found, about = read(opener, tmp_path / "file")
        assert_same(found, arrays)
        assert about == metadata


def test_numbers_of_the_other_byte_order_are_stored_as_the_format_has_them(tmp_path):
    big = np.arange(3, dtype=">i4")
    (tmp_path / "file").write_bytes(plain.save({"a": big}))
    np.testing.assert_array_equal(read(safe_open, tmp_path / "file")[0]["a"], [0, 1, 2])


def test_what_the_format_cannot_hold_is_refused():
    with pytest.raises(plain.SafetensorError, match="a: no array of complex128 can be stored"):
        plain.save({"a": np.zeros(2, "complex128")})


def file(header, data=b"\0" * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), place=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place), **more}


REFUSED = {
    "empty": b"",
    "short": b"\1\0\0",
    "longer than the file": struct.pack("<Q", 99) + b"{}",
    "far longer": struct.pack("<Q", 1 << 62) + b"{}",
    "no JSON": file(b"{]"),
    "no UTF-8": file(b'{"\xff": 1}'),
    "a list": file(b"[]", b""),
    "a number": file(b"1", b""),
    "deep": file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "unknown type": file({"a": entry("F33")}),
    "type of another kind": file({"a": entry(3)}),
    "shape too large": file({"a": entry(shape=[3])}),
    "shape negative": file({"a": entry(shape=[-2])}),
    "shape of halves": file({"a": entry(shape=[2.0])}),
    "shape that overflows": file({"a": entry(shape=[1 << 62, 1 << 62])}),
    "no shape": file({"a": {"dtype": "F32", "data_offsets": [0, 8]}}),
    "three places": file({"a": entry(place=[0, 8, 8])}),
    "place backwards": file({"a": entry(place=[8, 0])}),
    "gap before": file({"a": entry(shape=[1], place=[4, 8])}),
    "gap after": file({"a": entry(shape=[1], place=[0, 4])}),
    "overlap": file({"a": entry(), "b": entry()}),
    "beyond the end": file({"a": entry(shape=[3], place=[0, 12])}),
    "no arrays, but data": file({}),
    "metadata of numbers": file({"__metadata__": {"a": 1}, "a": entry()}),
    "metadata of another kind": file({"__metadata__": [], "a": entry()}),
    "entry of another kind": file({"a": 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse(name, tmp_path):
    (tmp_path / "file").write_bytes(REFUSED[name])
    with pytest.raises(SafetensorError):
        read(safe_open, tmp_path / "file")
    with pytest.raises(plain.SafetensorError):
        read(plain.safe_open, tmp_path / "file")


def test_files_with_damaged_bytes_are_taken_or_refused_by_both(tmp_path):
    """What Python takes and the library does not would be a file that only a browser reads, and the other way round."""
    whole = plain.save({"a": np.arange(4, dtype="float32"), "b": np.ones((2, 2))}, {"c": "d"})
    header, rng, taken = 8 + int.from_bytes(whole[:8], "little"), random.Random(0), 0
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2])):
            content[rng.randrange(header)] = rng.choice(b'0123456789"{}[],:FIU abZ\x00\xff')
        (tmp_path / "file").write_bytes(content)
        results = []
        for opener, refusal in ((safe_open, SafetensorError), (plain.safe_open, plain.SafetensorError)):
            try:
                results.append(read(opener, tmp_path / "file"))
            except refusal:
                results.append(None)
        assert (results[0] is None) == (results[1] is None), bytes(content[:header])
        if results[0] is not None:
            taken += 1
            assert_same(results[1][0], results[0][0])
            assert results[1][1] == results[0][1]
    assert taken > 20, "nothing was compared"


def test_files_are_the_same_where_the_library_cannot_be_imported(arrays, tmp_path):
    """A network saved in a browser is the one saved here, to the byte, and is read there as here."""
    storage.save_arrays(tmp_path / "here", arrays, ABOUT)
    code = (
        "import sys\n"
        "sys.modules['safetensors'] = None\n"
        "from tinyadv import storage\n"
        "arrays, about = storage.load_arrays('here')\n"
        "storage.save_arrays('there', arrays, about)\n"
        "assert 'tinyadv.plain_safetensors' in sys.modules\n"
        "open('damaged', 'wb').write(open('here', 'rb').read()[:-1])\n"
        "try: storage.load_arrays('damaged')\n"
        "except storage.StorageError as error: print(error)\n"
        "try: storage.load_arrays('missing')\n"
        "except storage.StorageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()
    damaged, missing = done.stdout.splitlines()
    assert damaged.startswith("damaged is not a readable safetensors file: ")
    assert missing == "missing does not exist"


def test_where_the_library_is_there_it_is_used(arrays, tmp_path):
    code = (
        "import sys; from tinyadv import storage; import numpy as np\n"
        "storage.save_arrays('file', {'a': np.ones(2)}, {}); storage.load_arrays('file')\n"
        "assert 'tinyadv.plain_safetensors' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
