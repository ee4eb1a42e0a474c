"""data_scripts/mnist.py: it believes no mirror and no folder, and never leaves a half-written file behind."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import download
import mnist as script
import pytest
from mirrors import near

from tinyadv.datasets import MNIST_FILES, MNIST_FOLDER, DataError, IdxFile, read_idx


def idx(*shape: int) -> bytes:
    header = IdxFile(shape, "").header
    size = IdxFile(shape, "").size - len(header)
    return header + bytes(i * i % 251 for i in range(size))


# Two small files stand for the four large ones.
RAW = {"images": idx(30, 4, 4), "labels": idx(30)}
FILES = {
    "images": IdxFile((30, 4, 4), sha256(RAW["images"]).hexdigest()),
    "labels": IdxFile((30,), sha256(RAW["labels"]).hexdigest()),
}
IMAGES = FILES["images"]


# --- from a folder --------------------------------------------------------------------------------------------


def test_from_folder_raw_or_gzipped(tmp_path):
    (tmp_path / "images").write_bytes(RAW["images"])
    (tmp_path / "labels.gz").write_bytes(gzip.compress(RAW["labels"]))
    assert script.from_folder(tmp_path, "images", IMAGES) == RAW["images"]
    assert script.from_folder(tmp_path, "labels", FILES["labels"]) == RAW["labels"]


BAD_FILES = {
    "other content": (RAW["images"][:-1] + b"\xff", "content with SHA-256 .* wanted"),
    "another file": (RAW["labels"], "a header of 00 00 08 01 00 00 00 1e.*, wanted 00 00 08 03"),
    "cut off": (RAW["images"][:-7], "489 bytes, wanted 496"),
    "too long": (RAW["images"] + b"more", "500 bytes or more, wanted 496"),
    "far too long": (RAW["images"] + bytes(10**6), f"{script.limit(IMAGES):,} bytes or more, wanted 496"),
    "empty": (b"", "a header of no bytes"),
    "gzip cut off": (gzip.compress(RAW["images"])[:-9], "a damaged gzip file: .*end-of-stream"),
    "gzip checksum": (gzip.compress(RAW["images"])[:-8] + bytes(8), "a damaged gzip file: .*CRC"),
    "gzip garbage": (gzip.compress(RAW["images"])[:10] + b"\xff" * 50, "a damaged gzip file: .*invalid block type"),
    "gzip of other content": (gzip.compress(RAW["images"][:-1] + b"\xff"), "content with SHA-256"),
    "gzip bomb": (gzip.compress(RAW["images"] + bytes(10**6)), "497 bytes or more, wanted 496"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_from_folder_names_the_bad_file(tmp_path, kind):
    data, found = BAD_FILES[kind]
    (tmp_path / "images.gz").write_bytes(data)
    with pytest.raises(DataError, match=rf"images\.gz: expected the canonical MNIST file; found: {found}"):
        script.from_folder(tmp_path, "images", IMAGES)


def test_from_folder_without_the_file(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=rf"{folder}: expected a file images or images\.gz in it, found neither"):
            script.from_folder(folder, "images", IMAGES)


# --- from mirrors, good and bad, on this machine --------------------------------------------------------------


BOMB = gzip.compress(gzip.compress(bytes(10**7)))


class Mirror(BaseHTTPRequestHandler):
    """Serves /KIND/NAME.gz: the first path component says how well."""

    over = threading.Event()  # lets go of those who wait
    seen: list[str] = []  # noqa: RUF012 - the server makes one handler per request; they share this list

    def do_GET(self) -> None:
        _, kind, file = unquote(self.path).split("/")
        Mirror.seen.append(kind)
        raw = RAW[file.removesuffix(".gz")]
        body = gzip.compress(raw)
        status, length = 200, None
        headers = {}
        if kind == "wrong":
            body = gzip.compress(raw[:-1] + b"\xff")
        elif kind == "page":
            body = b"<html>Welcome to our network. Please log in.</html>"
        elif kind == "truncated":  # the connection breaks: fewer bytes than announced
            body, length = body[:-20], len(body)
        elif kind == "cut":  # the mirror's own copy is cut off: as many bytes as announced
            body = body[:-20]
        elif kind == "endless":
            body = body + bytes(10**6)
        elif kind == "raw":
            body = raw
        elif kind == "encoded":  # the server undoes the compression in transit
            headers["Content-Encoding"] = "gzip"
        elif kind == "bomb":  # small, and said to unpack twice more
            body, headers["Content-Encoding"] = BOMB, "gzip, gzip"
        elif kind == "short":  # the server says less than it sends
            length = len(body) - 20
        elif kind == "no number":
            length = "many"
        elif kind in ("moved", "in circles", "to a file"):
            status = 302
            place = {"moved": "/good/", "in circles": "/in circles/", "to a file": "file:///etc/"}[kind]
            headers["Location"] = place + file
        elif kind == "missing" or (kind == "busy" and Mirror.seen.count("busy") < 3):
            status, body = (404 if kind == "missing" else 503), b""
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(length or len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if kind == "stalls":  # after the first bytes nothing comes
            self.wfile.write(body[:20])
            Mirror.over.wait(20)
        elif kind == "trickles":  # always something comes
            with contextlib.suppress(OSError):
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    if Mirror.over.wait(0.1):
                        break
        else:
            with contextlib.suppress(OSError):  # who has seen enough hangs up
                self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture(scope="module")
def server():
    Mirror.over.clear()  # a process may need the server twice, with other files' tests in between
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Mirror.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mirror(server, monkeypatch):
    """A function from kinds to mirrors' addresses; nothing waits, no proxy interferes."""
    near(monkeypatch)
    Mirror.seen.clear()
    return lambda *kinds: [f"{server}/{kind}/" for kind in kinds]


@pytest.mark.parametrize("kind", ["good", "raw", "encoded"])
def test_download(mirror, kind):
    assert script.from_mirrors(mirror(kind), "images", IMAGES) == RAW["images"]
    assert Mirror.seen == [kind]


def test_bad_mirrors_are_followed_by_the_next(mirror, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    bad = ["missing", "wrong", "page", "truncated", "cut", "endless"]
    mirrors = mirror(*bad, "good", "wrong")
    assert script.from_mirrors(mirrors, "images", IMAGES, attempts=2) == RAW["images"]
    assert Mirror.seen == ["missing", *(kind for kind in bad[1:] for _ in range(2)), "good"]
    assert pauses == [1] * 5  # only before asking the same mirror again


UNFIT = {
    "stalls": "Read timed out",
    "trickles": "not all of it within 0.5 seconds",
    "bomb": "a header of 1f 8b",  # what was sent, and not what it claims to be packed in, is looked at
    "short": "a damaged gzip file",
    "no number": "invalid literal|Content-Length",
    "in circles": "Exceeded 30 redirects",
    "to a file": "No connection adapters were found for 'file:///etc/images.gz'",
}


@pytest.mark.parametrize("kind", UNFIT)
def test_no_answer_of_a_mirror_ends_the_search_or_holds_it_up(mirror, monkeypatch, capsys, kind):
    monkeypatch.setattr(download, "SILENT", 0.3 if kind == "stalls" else 8.0)
    monkeypatch.setattr(download, "SLOW", 0.5 if kind == "trickles" else 20.0)
    mirrors, started = mirror(kind.replace(" ", "%20"), "good"), time.monotonic()
    assert script.from_mirrors(mirrors, "images", IMAGES, attempts=2, pause=0) == RAW["images"]
    assert time.monotonic() - started < 10
    assert re.search(UNFIT[kind], capsys.readouterr().err)
    asked = Mirror.seen.index("good")
    assert asked == (62 if kind == "in circles" else 1 if kind == "trickles" else 2)


def test_a_redirection_is_followed(mirror):
    assert script.from_mirrors(mirror("moved"), "images", IMAGES) == RAW["images"]
    assert Mirror.seen == ["moved", "good"]


def test_bad_mirrors_alone_leave_what_was_there(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SILENT", 0.3)
    monkeypatch.setattr(script.rebuild, "__defaults__", (FILES,))
    (tmp_path / "images.xz").write_bytes(b"old")
    kinds = ["wrong", "page", "truncated", "cut", "endless", "bomb", "short", "no%20number", "stalls"]
    options = [part for url in mirror(*kinds) for part in ("--mirror", url)]
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    assert script.main([*options, "--out", str(tmp_path)]) == 2
    assert contents(tmp_path) == {"images.xz": b"old"}


def test_a_busy_mirror_is_asked_again_and_given_time(mirror, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    assert script.from_mirrors(mirror("busy", "good"), "labels", FILES["labels"]) == RAW["labels"]
    assert Mirror.seen == ["busy"] * 3
    assert pauses == [1, 2]


def test_when_every_mirror_fails_the_reasons_are_told(mirror):
    mirrors = [*mirror("missing", "wrong", "truncated", "endless"), "http://127.0.0.1:9/gone", "nonsense"]
    with pytest.raises(DataError) as caught:
        script.from_mirrors(mirrors, "images", IMAGES, attempts=1)
    message = str(caught.value)
    assert message.startswith("images: no mirror served the canonical file.")
    assert "--from DIR" in message
    reasons = ["404 Client Error", "content with SHA-256", "more expected", "too many for this file"]
    for url, reason in zip(mirrors, [*reasons, "no connection", "Invalid URL"], strict=True):
        start = message.index(f"{url.rstrip('/')}/images.gz: ")
        assert reason in message[start:].split("; ")[0]


def test_without_pooch(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"downloading needs pooch: pip install pooch, or .* --from DIR"):
        script.from_mirrors(script.MIRRORS, "images", IMAGES)


# --- rebuilding -----------------------------------------------------------------------------------------------


def fetch(name: str, file: IdxFile) -> bytes:
    return RAW[name]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rebuild_writes_what_datasets_reads_and_always_the_same(tmp_path):
    for out in ("one", "two"):
        (tmp_path / out).mkdir()
        script.rebuild(fetch, tmp_path / out, FILES)
    first = contents(tmp_path / "one")
    assert first.keys() == {"images.xz", "labels.xz"}
    assert first == contents(tmp_path / "two")
    assert read_idx("images", tmp_path / "one", IMAGES).tobytes() == RAW["images"][16:]
    script.check(tmp_path / "one", FILES)


def test_rebuild_from_mirrors(mirror, tmp_path):
    mirrors = mirror("wrong", "good")
    script.rebuild(lambda name, file: script.from_mirrors(mirrors, name, file, pause=0), tmp_path, FILES)
    script.check(tmp_path, FILES)


def fail_to_fetch(name: str, file: IdxFile) -> bytes:
    if name == "labels":
        raise DataError("no labels today")
    return fetch(name, file)


def test_a_failed_fetch_changes_nothing(tmp_path):
    (tmp_path / "images.xz").write_bytes(b"old")
    with pytest.raises(DataError, match="no labels today"):
        script.rebuild(fail_to_fetch, tmp_path, FILES)
    assert contents(tmp_path) == {"images.xz": b"old"}


def test_a_disk_that_fills_up_changes_nothing(tmp_path, monkeypatch):
    """Half of the second file is written when the disk is full: neither file may have been replaced."""
    (tmp_path / "images.xz").write_bytes(b"old")
    write = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        if "labels" in path.name:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        script.rebuild(fetch, tmp_path, FILES)
    assert contents(tmp_path) == {"images.xz": b"old"}


def test_what_was_compressed_is_read_back_before_it_replaces_anything(tmp_path, monkeypatch):
    (tmp_path / "images.xz").write_bytes(b"old")
    compress = script.lzma.compress
    monkeypatch.setattr(script.lzma, "compress", lambda data, **how: compress(data, **how)[:-4])
    with pytest.raises(DataError, match="ended before the end-of-stream"):
        script.rebuild(fetch, tmp_path, FILES)
    assert contents(tmp_path) == {"images.xz": b"old"}


def test_what_a_killed_rebuild_left_is_removed(tmp_path):
    (tmp_path / ".rebuild-abc").mkdir()
    (tmp_path / ".rebuild-abc" / "images.xz").write_bytes(b"half")
    script.rebuild(fetch, tmp_path, FILES)
    assert contents(tmp_path).keys() == {"images.xz", "labels.xz"}


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    """The only thing that ever touches an embedded file is a rename from a finished file in the same folder."""
    moved = []
    replace = os.replace

    def record(source: Path, target: Path) -> None:
        assert source.parent.parent == target.parent == tmp_path
        moved.append((source.read_bytes(), target.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", record)
    script.rebuild(fetch, tmp_path, FILES)
    assert [data for data, _ in moved] == [contents(tmp_path)[f"{name}.xz"] for name in FILES]
    assert not any(existed for _, existed in moved)


# --- the command ----------------------------------------------------------------------------------------------


def test_check_passes_on_the_embedded_files(capsys):
    assert script.main(["--check"]) == 0
    assert capsys.readouterr().out.count(": ok, content ") == 4


def test_the_command_rebuilds(tmp_path, monkeypatch, capsys):
    """The command with its real table of files, reduced to the labels (compressing the images takes a minute)."""
    name = "t10k-labels-idx1-ubyte"
    content = MNIST_FILES[name].header + read_idx(name, MNIST_FOLDER, MNIST_FILES[name]).tobytes()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(script.rebuild, "__defaults__", ({name: MNIST_FILES[name]},))
    assert script.main(["--from", str(tmp_path), "--out", str(tmp_path / "new")]) == 0
    assert f"{tmp_path}/new/{name}.xz: 10,008 -> " in capsys.readouterr().out
    assert read_idx(name, tmp_path / "new", MNIST_FILES[name]).shape == (10_000,)


def test_the_command_downloads_from_the_given_mirror(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(script.rebuild, "__defaults__", (FILES,))
    first, second = mirror("missing", "good")
    assert script.main(["--mirror", first, "--mirror", second, "--out", str(tmp_path)]) == 0
    assert Mirror.seen == ["missing", "good"] * 2
    script.check(tmp_path, FILES)


def test_from_an_empty_folder_by_download(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(script.rebuild, "__defaults__", (FILES,))
    monkeypatch.setattr(script, "MIRRORS", mirror("good"))
    out = tmp_path / "new" / "data"
    assert script.main(["--out", str(out)]) == 0
    assert Mirror.seen == ["good"] * 2
    script.check(out, FILES)
