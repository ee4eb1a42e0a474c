"""What a test of an exercise says: the mistake's name, where the answer is that of a known mistake.

`judge` is what most tests call. `verdict` reads pytest's own objects, in a student's folder and in grading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import Any

from numpy import (
    absolute,
    allclose,
    argmax,
    array_equal,
    asarray,
    float32,
    inf,
    nan_to_num,
    ndarray,
    shape,
    unravel_index,
)

from .feedback import feedback, one_line

LEAK = "float64 leak: float32 went in, float64 came out; which array was made without a dtype?"


def close(given: Any, value: Any) -> bool:
    """Whether both have one shape and, to rounding in float64, the same numbers."""
    given = asarray(given)  # the numbers themselves, also of a masked array
    return bool(given.shape == shape(value) and allclose(given, value, rtol=1e-6, atol=1e-9))


def judge(given: Any, right: Any, mistakes: Iterable[tuple[str, Any]] = ()) -> None:
    """Silence for the right answer; else the name of the mistake that gives this very answer, or how far off it is.

    Raises
    ------
    AssertionError
        If the answer is not the right one.
    """
    given = returned(given)
    if close(given, right):
        return
    for mistake, value in mistakes:
        assert not close(given, value), mistake
    given, right = asarray(given), asarray(right)
    assert given.shape == right.shape, f"the shape {right.shape} is wanted, your result has {given.shape}"
    off = nan_to_num(absolute(given - right), nan=inf)
    worst = unravel_index(argmax(off), off.shape)
    where = f"entry {', '.join(map(str, worst))}: " if worst else ""
    yours, wanted = f"{given[worst]:.6g}", f"{right[worst]:.6g}"
    assert yours != wanted, f"{where}{given[worst]:.12g} should be {right[worst]:.12g}: was float64 rounded to float32?"
    raise AssertionError(f"{where}{yours} should be {wanted}")


def returned(given: Any) -> Any:
    """What a function gave, if it returned something."""
    assert given is not None, "your function returns nothing: is there a `return`?"
    generates = isinstance(given, GeneratorType)
    assert not generates, "your function gives a generator, since it says `yield`: say `return`"
    return given


def leaks(given: Any) -> bool:
    """Whether float32 became float64 in an answer. Numbers of Python, alone or in lists, have no such types."""
    if type(given) in (int, float, bool):
        return False
    if isinstance(given, list | tuple):
        return any(map(leaks, given))
    return bool(asarray(given).dtype != float32)


def as_array(given: Any) -> Any:
    """An answer as an array: numbers of Python, which have no precision of their own, as float32."""
    array = asarray(given)
    return array.astype(float32) if array.dtype.kind == "f" and not leaks(given) else array


def several(answer: Any, names: str) -> Any:
    """An answer of several arrays or numbers, checked to be as many as there are names between commas."""
    listed = list(answer) if isinstance(answer, ndarray) and answer.ndim else returned(answer)
    fits = isinstance(listed, tuple | list) and len(listed) == names.count(",") + 1
    assert fits, f"return {names}"
    return listed


def called(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a function returns; AssertionError if that is nothing, or if it changes an array that it is given."""
    arrays = [array for arg in (*args, *options.values()) for array in _arrays(arg)]
    before = [array.copy() for array in arrays]
    given = returned(function(*args, **options))
    for old, now in zip(before, arrays, strict=True):
        same = array_equal(old, now, equal_nan=old.dtype.kind == "f")
        assert same, "your function changed an array that it was given: x += ... works in the caller's array"
    return given


def _arrays(arg: Any) -> list[Any]:
    """The arrays of an argument: itself, or those that a dictionary holds."""
    values = arg.values() if isinstance(arg, dict) else [arg]
    return [value for value in values if isinstance(value, ndarray)]


def lesson_number(item: Any) -> int:
    """The lesson that a test in a file test_lessonNN.py is about."""
    return int(item.path.stem.removeprefix("test_lesson")[:2])


def verdict(item: Any, call: Any, report: Any) -> str | None:
    """A line of feedback on a phase of a test that went wrong; "" for a test that passed; None says nothing yet.

    The arguments are those of pytest's hook `pytest_runtest_makereport`, and the report that it made.
    """
    if report.outcome == "passed":
        return "" if report.when == "call" else None
    if report.outcome == "skipped":
        return one_line(f"the test was skipped: {getattr(call.excinfo, 'value', '')}")
    return feedback(call.excinfo.value) or "the test failed"


def first(said: dict[str, str]) -> str:
    """Of the feedback of several tests, the first that says something."""
    return next((line for line in said.values() if line), "")
