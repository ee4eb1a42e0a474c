"""A small web server for a built site, for this machine alone: pages that run Python do not work as files."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ...storage import WINDOWS


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the files in a folder, on this machine's loopback address.

    Raises
    ------
    ValueError
        If the folder holds no site, or the port is none, or taken.
    """
    if not (folder / "index.html").is_file():
        raise ValueError(f"{folder} has no index.html: wanted a folder that `tinyadv course site` has written")
    if not 0 <= port < 1 << 16:
        raise ValueError(f"--port {port}: wanted a number from 0 to 65535")
    try:
        return Server(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise ValueError(f"--port {port}: {error.strerror}; --port 0 takes any that is free") from error


class Server(ThreadingHTTPServer):
    """One that gets its port for itself."""

    allow_reuse_address = not WINDOWS  # elsewhere it means one that is free again; in Windows one that is in use


class Handler(SimpleHTTPRequestHandler):
    """Files with the types that browsers insist on, kept by them where a name carries a hash."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012  (as in the class above)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",  # some systems, as Windows by its registry, say something else
        ".css": "text/css",
        ".html": "text/html",
        ".svg": "image/svg+xml",
        ".gzip": "application/octet-stream",
    }

    def end_headers(self) -> None:
        kept = "max-age=31536000, immutable" if self.path.endswith(".gzip") else "no-cache"
        self.send_header("Cache-Control", kept)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
