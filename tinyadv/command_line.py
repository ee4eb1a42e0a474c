"""What the commands share: complaints of one line, what may stop them, and how options are read and checked.

The one idea: whatever is wrong with what the user typed, and whatever stops sound work, is one line on standard error
and an exit code: 2 for the input and for files, 1 for training that diverges, 130 and 143 for Ctrl-C and SIGTERM.
Anything else is a bug, and keeps its traceback.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from .storage import descriptor


def complain(message: object, code: int) -> int:
    """Print a message as one line on standard error; gives back the exit code, for `typer.Exit`."""
    # what a file said may be in it: nothing that a terminal would obey, and no more than one wants to read
    text = "".join(c if c.isprintable() else " " for c in str(message)[:5000])
    typer.echo("tinyadv: " + " ".join(text.split()), err=True)
    return code


@contextmanager
def input_errors() -> Iterator[None]:
    """What is wrong with the input becomes one line and exit code 2; so does what the installation lacks."""
    from .backend import DeviceError

    try:
        yield
    except (ValueError, FloatingPointError, DeviceError) as error:
        raise typer.Exit(complain(error, 2)) from error


@contextmanager
def work(interrupted: str = "interrupted", terminated: str = "terminated", hint: str = "") -> Iterator[None]:
    """What may stop sound work on sound input: files, training that diverges, the user. Anything else is a bug.

    Ctrl-C is said as `interrupted`, SIGTERM as `terminated`, both with the `hint` on what to do then.
    """
    from .datasets import DataError
    from .storage import StorageError
    from .training import DivergedError

    then = f"; {hint}" if hint else ""
    try:
        with _stopped_by_sigterm():
            yield
    except BrokenPipeError:
        raise  # who reads our output has seen enough: typer ends without a word
    except (DataError, StorageError) as error:
        raise typer.Exit(complain(error, 2)) from error
    except OSError as error:
        raise typer.Exit(complain(said_by(error), 2)) from error
    except DivergedError as error:
        raise typer.Exit(complain(error, 1)) from error
    except _TerminatedError as error:
        raise typer.Exit(complain(terminated + then, 143)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(complain(interrupted + then, 130)) from error


def said_by(error: OSError) -> str:
    """What went wrong with which file."""
    if error.strerror is None:
        return str(error)
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    try:
        print(flush=True)
    except OSError:  # again: it was standard output that could not be written
        return f"standard output: {error.strerror}"
    return str(error)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM stops the work like Ctrl-C: what is running is stopped first. Only the main thread hears of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_folder(out: Path, wanted_for: str) -> None:
    """ValueError unless `out` is a folder that can be written, or can become one; nothing is written to find out."""
    there = next((path for path in (out, *out.absolute().parents) if path.exists()), None)
    if there is None:
        raise ValueError(f"{wanted_for}: wanted a folder, but there is no {out.absolute().anchor}")
    if not there.is_dir():
        raise ValueError(f"{wanted_for}: wanted a folder, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{wanted_for}: wanted a folder that can be written, but {there} cannot be")


def check_output(option: str, path: Path) -> None:
    """ValueError unless a file can be written at `path`, or something else there takes what is written."""
    if descriptor(path) is not None:
        return
    if path.is_dir():
        raise ValueError(f"{option} {path}: wanted a file, but it is a folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise ValueError(f"{option} {path}: wanted a file that can be written, but it cannot be")
    if not path.exists() or path.is_file():
        check_folder(Path(os.path.realpath(path)).parent, f"{option} {path}")


def _number(kind: Callable[[str], Any], wanted: str) -> Callable[[Any], Any]:
    """A reader of numbers that says what it wanted and what it got."""

    def read(text: Any) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"wanted {wanted}, got {text!r}") from None

    return read


whole = _number(int, "a whole number")
real = _number(float, "a number")
