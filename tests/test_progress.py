"""What a training shows: plain lines in a pipe, a bar on a (pseudo-)terminal, and a clean terminal afterwards."""

import contextlib
import io
import itertools
import os
import re
import sys
import threading

import numpy as np
import pytest

from tinyadv import losses, models, progress
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.machine import can_start_threads
from tinyadv.optim import SGD
from tinyadv.progress import Bars, Console, Silent, say
from tinyadv.training import train

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

ENTRY = {"epoch": 3, "loss": 0.12345, "error": 0.0321, "adversarial error": 0.5, "confidence": 0.9}


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@contextlib.contextmanager
def terminal():
    """Standard error is a pseudo-terminal inside; gives a list that holds, afterwards, the text that was written."""
    master, slave = pty.openpty()
    parts, text = [], []

    def read():
        with contextlib.suppress(OSError):  # how Linux says that the other end was closed
            while part := os.read(master, 4096):
                parts.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    with open(slave, "w", encoding="utf-8") as stderr, contextlib.redirect_stderr(stderr):
        yield text
        assert sys.stderr is stderr  # a live bar stands in its place
    reader.join(10)
    os.close(master)
    text.append(b"".join(parts).decode())


def plain(text):
    """Without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def assert_clean(text):
    """A bar was there and was erased, the cursor is visible again, and nothing redraws the bar any more."""
    assert 0 <= text.rfind("━") < text.rfind("\x1b[2K")
    assert 0 <= text.rfind("\x1b[?25l") < text.rfind("\x1b[?25h")
    for thread in [t for t in threading.enumerate() if "Refresh" in type(t).__name__]:
        thread.join(5)  # it was told to end, and may be about to
        assert not thread.is_alive()


def show(console, epochs=5, done=0):
    console.begin("maxout", epochs, done)
    for epoch in range(done + 1, epochs + 1):
        console.advance(epoch - 0.5, 0.25)
        console.end(ENTRY | {"epoch": epoch}, epoch == epochs)
    console.close()


def training(console, objective=losses.clean_objective, epochs=3):
    model = models.softmax_regression(4, 2, rng=generator(0))
    x, y = np.ones((40, 4), "float32"), np.arange(40) % 2
    return train(
        model, objective, x, y, epochs=epochs, seed=0, batch=10, optimiser=SGD(parameters(model)),
        validate=lambda model: {"error": 0.25, "adversarial error": 0.75}, progress=console, title="softmax",
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Not a terminal


def test_a_pipe_gets_the_last_line_at_least(clock, capsys):
    show(Console())
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "maxout: epoch 5/5  loss 0.123  error 3.21%  adversarial error 50.00%  (0 s)\n"


def test_a_pipe_gets_a_line_about_every_ten_seconds_with_the_time_that_is_left(clock, capsys):
    console = Console()
    console.begin("maxout", 10, 4)
    for epoch in range(5, 11):
        clock[0] += 4.0
        console.advance(epoch - 0.5, 0.25)
        console.end(ENTRY | {"epoch": epoch}, epoch == 10)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["7/10", "10/10"]
    assert lines[0].endswith("(12 s left)")  # 3 epochs in 12 s, 3 more to go
    assert lines[1].endswith("(24 s)")
    assert not [c for c in "".join(lines) if ord(c) < 32]  # no control characters


def test_a_training_in_a_pipe(capsys):
    training(Console())
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"softmax: epoch 3/3  loss 0\.69\d  error 25\.00%  adversarial error 75\.00%  \(\d+ s\)", line)


def test_silence(capsys):
    show(Silent())
    training(Silent())
    training(None)
    assert capsys.readouterr() == ("", "")


# ---------------------------------------------------------------------------------------------------------
# A terminal


def test_a_terminal_gets_a_bar_with_the_figures_and_a_last_line():
    with terminal() as text:
        console = Console()
        console.begin("maxout", 5, 0)
        console.advance(0.5, 0.777)
        console.end(ENTRY | {"epoch": 1}, last=False)
        console.advance(1.5, 0.666)
        console.end(ENTRY | {"epoch": 2}, last=True)
        console.close()
    assert_clean(text[0])
    assert "━" in text[0]
    assert "epoch 2/5  loss 0.666  error 3.21%  adversarial error 50.00%" in plain(text[0])
    last = plain(text[0]).splitlines()[-1]
    assert last.startswith("maxout: epoch 2/5  loss 0.123  error 3.21%  adversarial error 50.00%  (")


def test_several_trainings_share_the_terminal_and_lines_stay_above_their_bars():
    with terminal() as text:
        bars = Bars()
        first, second, third = (Console(bars) for _ in range(3))
        first.begin("maxout", 5, 0)
        second.begin("softmax", 4, 1)
        third.work("linear-growth")
        assert len(bars._shown.tasks) == 3
        first.advance(2.5, 0.777)
        second.advance(1.5, 0.666)
        bars._shown.refresh()
        say("a line in between")
        second.end(ENTRY | {"epoch": 4}, last=True)
        third.close()
        assert [task.description for task in bars._shown.tasks] == ["maxout"]
        first.close()
        assert bars._shown is None
    assert_clean(text[0])
    shown = plain(text[0])
    drawn = shown[: shown.index("a line in between")]
    for part in ("maxout", "epoch 3/5  loss 0.777", "softmax", "epoch 2/4  loss 0.666", "linear-growth"):
        assert part in drawn
    assert "softmax: epoch 4/4  loss 0.123" in shown


def test_several_trainings_in_a_pipe_are_told_apart_and_work_of_unknown_length_is_not_shown(clock, capsys):
    bars = Bars()
    for name in ("maxout", "softmax"):
        console = Console(bars)
        console.work("linear-growth")
        console.begin(name, 2, 0)
        console.end(ENTRY | {"epoch": 2}, last=True)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["maxout", "softmax"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_training_that_breaks_off_leaves_a_clean_terminal(error, at):
    calls = itertools.count(1)

    def breaking(*args):
        if next(calls) == at:
            raise error
        return losses.clean_objective(*args)

    with terminal() as text, pytest.raises(error):
        training(Console(), breaking)
    assert_clean(text[0])


def test_a_training_that_ends_leaves_a_clean_terminal_and_one_line():
    with terminal() as text:
        training(Console())
    assert_clean(text[0])
    assert re.search(r"epoch 3/3  loss 0.69\d  error 25.00%  adversarial error 75.00%  \(\d+ s\)\s*$", plain(text[0]))


def test_a_training_with_nothing_left_to_do_leaves_a_clean_terminal(tmp_path):
    x, y = np.ones((40, 4), "float32"), np.arange(40) % 2
    with terminal() as text:
        for console in (None, Console()):
            model = models.softmax_regression(4, 2, rng=generator(0))
            train(
                model, losses.clean_objective, x, y, epochs=2, seed=0, optimiser=SGD(parameters(model)),
                checkpoint=tmp_path / "checkpoint", progress=console,
            )  # fmt: skip
    assert_clean(text[0])


def test_where_no_thread_can_be_started_a_bar_moves_all_the_same(monkeypatch):
    """As in a browser, by WebAssembly: Rich's own thread would redraw it."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with terminal() as text:
        can_start_threads.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            now = [0.0]
            patch.setattr(progress.time, "monotonic", lambda: now[0])
            console = Console()
            console.begin("maxout", 5, 0)
            for epoch in (0.5, 1.5):
                now[0] += 1
                console.advance(epoch, 0.777)
            console.close()
        can_start_threads.cache_clear()
    assert_clean(text[0])
    assert "epoch 1/5  loss 0.777" in plain(text[0])
    assert "epoch 2/5  loss 0.777" in plain(text[0])


def test_without_a_standard_error_nothing_is_live(monkeypatch):
    """As under pythonw on Windows, or where it was closed."""
    monkeypatch.setattr(sys, "stderr", None)
    assert not Bars().live


def test_closing_twice_or_before_anything_began_is_nothing(capsys):
    console = Console()
    console.close()
    console.begin("maxout", 1, 0)
    console.close()
    console.close()
    assert capsys.readouterr() == ("", "")


def test_a_console_without_a_terminal_needs_no_rich(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "rich.progress", None)  # importing it raises
    show(Console())
    assert "epoch 5/5" in sys.stderr.getvalue()
