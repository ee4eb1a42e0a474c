"""What the data scripts share: downloading from servers that aren't trusted, their options, and ending in one line.

The one idea: whatever a server sends is only bytes until a check has passed, and no answer of a server, however wrong
or slow, ends the search or holds it up for long. A download that broke off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import io
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NoReturn, TypeVar

from tinyadv.datasets import DataError

SILENT = 30.0  # seconds in which a server has to send anything,
SLOW = 600.0  # and in which it has to send all of a file,
SLOWEST = 50_000  # or, of a large one, so many bytes a second
CHUNK = 1 << 16  # bytes that arrive together: of a connection that breaks, fewer are lost

Content = TypeVar("Content")


class SlowError(DataError):
    """A server would take too long; it is not asked again."""


class Arrived:
    """What has arrived of a file: it refuses to grow beyond `most` bytes, and once it has been closed."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.most, self.closed = file, most, False
        self.lock = threading.Lock()  # the thread that downloads may outlive our patience
        self.size = file.seek(0, io.SEEK_END)

    def write(self, data: bytes) -> int:
        with self.lock:
            if self.closed:
                raise DataError("no longer wanted")
            if self.size + len(data) > self.most:
                raise DataError(f"more than {self.most:,} bytes, too many for this file")
            self.size += len(data)
            return self.file.write(data)

    def flush(self) -> None:
        """Nothing: the file decides when it writes."""

    def restart(self) -> None:
        """Forget what has arrived."""
        self.file.seek(0)
        self.file.truncate()
        self.size = 0

    def content(self) -> bytes:
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        with self.lock:
            self.closed = True


def download(url: str, arrived: Arrived) -> None:
    """Add to `arrived` what a server sends, as it sends it; where something is there already, the rest.

    Raises DataError for too many bytes, SlowError, ImportError if pooch isn't installed, and whatever a server's
    answer makes the libraries raise.
    """
    from pooch import HTTPDownloader

    start = arrived.size

    def answered(response: Any, **_: Any) -> None:
        # Not unpacked because the server says so: a small answer could unpack to any size.
        response.raw.headers.pop("Content-Encoding", None)
        if start and response.status_code == 200:  # all of it, though the rest was asked for
            arrived.restart()
        elif start and response.status_code == 206:
            where = response.headers.get("Content-Range", "")
            if not where.startswith(f"bytes {start}-"):
                raise DataError(f"wanted the bytes from {start:,}, was sent {where or 'others'!r}"[:200])

    more = {"headers": {"Range": f"bytes={start}-"}} if start else {}
    get = HTTPDownloader(
        find_spec("tqdm") is not None, chunk_size=CHUNK, timeout=SILENT, hooks={"response": answered}, **more
    )
    outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            get(url, arrived, None)
            outcomes.put(None)
        except BaseException as error:
            outcomes.put(error)

    # a thread of its own: one byte now and then never times out
    threading.Thread(target=work, daemon=True).start()
    allowed = max(SLOW, arrived.most / SLOWEST)
    try:
        outcome = outcomes.get(timeout=allowed)
    except queue.Empty:
        raise SlowError(f"not all of it within {allowed:g} seconds") from None
    if outcome is not None and not (start and _status(outcome) == 416):  # 416: nothing beyond what is there
        raise outcome


def fetched(
    urls: Sequence[str],
    most: int,
    check: Callable[[bytes], Content],
    failure: str,
    part: Path | None = None,
    attempts: int = 3,
    pause: float = 1.0,
) -> Content:
    """What `check` makes of a file of at most `most` bytes, from the first of `urls` that serves what passes it.

    Each URL gets `attempts` tries, `pause`, 2 `pause`, ... seconds apart; a server that answers HTTP 4xx, or is too
    slow, gets only one. After a broken connection only the rest is asked for, and with a file `part` also after a
    broken run; what has not passed the check is forgotten. Raises DataError, `failure` followed by the last reason of
    every URL, if none serves it, or if pooch isn't installed.
    """
    reasons = []
    with part.open("a+b") if part else io.BytesIO() as file:
        for url in urls:
            for attempt in range(1, attempts + 1):
                arrived = Arrived(file, most)
                where = f", from byte {arrived.size:,} on" if arrived.size else ""
                print(f"downloading {url}{where}", file=sys.stderr)
                try:
                    download(url, arrived)
                    return check(arrived.content())
                except ImportError:
                    message = "downloading needs pooch: pip install pooch, or pass a local folder: --from DIR"
                    raise DataError(message) from None
                except Exception as error:  # of several libraries, and no server's answer may end the search
                    arrived.close()
                    reason = "no connection" if "Max retries exceeded" in str(error) else str(error)[:500]
                    refused = 400 <= _status(error) < 500 or isinstance(error, SlowError)
                    if isinstance(error, DataError) and not isinstance(error, SlowError):
                        arrived.restart()
                print(f"  {reason}", file=sys.stderr)
                if refused or attempt == attempts:
                    break
                time.sleep(pause * 2 ** (attempt - 1))
            reasons.append(f"{url}: {reason}")
    raise DataError(f"{failure} Found: {'; '.join(reasons)}")


def _status(error: BaseException) -> int:
    """The HTTP status that an error is about, 0 if there is none."""
    return getattr(getattr(error, "response", None), "status_code", 0)


class OneLineParser(argparse.ArgumentParser):
    """argparse without the usage lines before an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


@dataclass(frozen=True)
class Script:
    """A data script's command: from servers, from what the user has, or only a check.

    Attributes
    ----------
    name, does : str
        The file's name, and what it is for.
    out : Path
        The folder that is written, unless --out names another.
    check : callable
        `check(out)` verifies what is there.
    from_servers : callable
        `from_servers(mirrors, out)`: the user's mirrors; None stands for the script's own servers.
    from_path : callable
        `from_path(path, out)`.
    path, mirror : str
        What --from and --mirror take, in words.
    others : dict
        Further sources: an option, what it is in words, and `get(out)`.
    """

    name: str
    does: str
    out: Path
    check: Callable[[Path], None]
    from_servers: Callable[[Sequence[str] | None, Path], None]
    from_path: Callable[[Path, Path], None]
    path: str
    mirror: str
    others: Mapping[str, tuple[str, Callable[[Path], None]]] = field(default_factory=dict)

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Do what was typed; the exit code: 0, or 2 after one line that says what is wrong (130 after Ctrl-C)."""
        options = self._parsed(argv)

        def work() -> None:
            if options.check:
                self.check(options.out)
                return
            options.out.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=options.out).close()  # not writable? Say so now, not after a long download
            if options.path is not None:
                self.from_path(options.path, options.out)
            elif options.other is not None:
                options.other(options.out)
            else:
                self.from_servers(options.mirror, options.out)

        return ending_in_one_line(self.name, options.out, work)

    def _parsed(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """What was typed; where it makes no sense, one line and SystemExit(2)."""
        parser = OneLineParser(prog=self.name, description=self.does)
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--from", dest="path", type=Path, metavar="PATH", help=f"{self.path}; offline")
        for option, (words, get) in self.others.items():
            source.add_argument(option, dest="other", action="store_const", const=get, help=words)
        source.add_argument("--mirror", action="append", metavar="URL", help=f"{self.mirror} (repeatable)")
        source.add_argument("--check", action="store_true", help="only verify what is in --out")
        parser.add_argument("--out", type=Path, default=self.out, metavar="DIR", help="default: %(default)s")
        parser.set_defaults(other=None)
        return parser.parse_args(argv)


def ending_in_one_line(program: str, out: Path, work: Callable[[], None]) -> int:
    """Do the work; returns the exit code: 0, or 2 or 130 after one line that says what is wrong."""
    try:
        work()
    except DataError as error:
        message = " ".join(str(error).split())
    except OSError as error:  # reading has its own errors, so this is writing
        message = f"--out: wanted a folder that can be written, received {out}: {error.strerror}"
    except KeyboardInterrupt:
        message = "interrupted"
    else:
        return 0
    print(f"{program}: {message}", file=sys.stderr)
    return 130 if message == "interrupted" else 2
