"""What the tests of the data scripts share: where these are, and a server on this machine.

It serves files, whole or as badly as it is told.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

DATA_SCRIPTS = Path(__file__).parents[1] / "data_scripts"


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files, by their paths in it, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy stand between a test and its server; without pooch, which downloads, the test is skipped."""
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Files:
    """What a server has, and what it was asked for.

    `content` maps paths to bytes, `cut` those whose connection breaks to how often it still will, halfway through what
    was asked for, `whole` has those sent from the beginning whatever part is asked for, `skewed` those that send
    another part than was asked for. `asked` lists (path, first byte).
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.whole: set[str] = set()
        self.skewed: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.url = ""


@contextmanager
def serving() -> Iterator[Files]:
    """A server with files that may be changed while it runs."""
    files = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            start = int(self.headers.get("Range", "bytes=0-")[len("bytes=") :].rstrip("-"))
            files.asked.append((path, start))
            if path not in files.content:
                self.send_error(404)
                return
            body = files.content[path]
            if start and path not in files.whole:
                if start >= len(body):
                    self.send_error(416)
                    return
                start -= path in files.skewed
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                body = body[start:]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if files.cut.get(path, 0) > 0:
                files.cut[path] -= 1
                body = body[: len(body) // 2]
            with suppress(OSError):  # who has seen enough hangs up
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the tests' output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        files.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield files
        finally:
            server.shutdown()
            thread.join()
