"""Programs that are killed, or find no room: the next run comes to the same bits. `campaign` is the harness.

The default tests kill a dozen times; `python tests/crash/campaign.py` does 250 times, and prints a table.
"""

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="signals, processes and their limits are POSIX's")
if not Path("/proc/self/environ").exists():
    pytest.skip("processes are found by /proc", allow_module_level=True)

from campaign import (
    FAULTS,
    KINDS,
    ORPHANS,
    PLACES,
    Campaign,
    Program,
    contents,
    differences,
    not_whole,
    until,
)

from tinyadv.course.scores import Check, Exercise, as_json

SEED = int.from_bytes(os.urandom(2), "big")  # printed where something is wrong


def disturb(tmp_path, cells, seed, plant=None):
    """The campaign of so many kills for each kind and place, and all that was wrong."""
    campaign = Campaign(tmp_path, seed, plant)
    for (place, kind), times in cells.items():
        campaign.run(place, kind, times)
    print(campaign.table())
    return campaign, [(d.how, d.problems) for d in campaign.disturbances if d.problems]


SHORT = [
    {("training", "SIGKILL"): 2, ("training", "SIGTERM"): 1, ("training", "full disk"): 2},
    {("data", "SIGKILL"): 2, ("data", "Ctrl-C"): 1, ("data", "read-only"): 2},
    {("workers", "SIGKILL"): 1, ("workers", "SIGTERM"): 1},
]


@pytest.mark.parametrize("cells", SHORT, ids=lambda cells: next(iter(cells))[0])
def test_what_is_killed_goes_on_to_the_same_bits(tmp_path, cells):
    campaign, wrong = disturb(tmp_path, cells, SEED)
    assert not wrong
    assert len(campaign.disturbances) == sum(n for cell, n in cells.items() if cell not in campaign.unavailable)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_killed_often_goes_on_to_the_same_bits(tmp_path, place, kind):
    campaign, wrong = disturb(tmp_path, {(place, kind): 10}, SEED)
    assert not wrong
    if campaign.unavailable:
        pytest.skip(campaign.unavailable[place, kind])


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_campaign_finds_planted_faults(tmp_path, fault):
    campaign, found = disturb(tmp_path, {FAULTS[fault]: 12}, 0, fault)
    if campaign.unavailable:
        pytest.skip(campaign.unavailable[FAULTS[fault]])
    assert found


def test_grades_are_known_for_whole_or_not_and_are_compared_without_their_time(tmp_path):
    graded = [Exercise(1, "f", (Check("test_f", 2.0, ""),))]
    for folder, when in (("one", "2026-01-01T10:00:00"), ("other", "2026-01-01T10:00:01")):
        (tmp_path / folder).mkdir()
        text = as_json(graded, {"name": "Ada", "sha256": "0" * 64, "when": when})
        (tmp_path / folder / "scores.json").write_text(text)
    assert not_whole(tmp_path / "one") == []
    assert differences(tmp_path / "one", contents(tmp_path / "other")) == []
    (tmp_path / "one" / "scores.json").write_text(text.replace("2.0", "1.0"))
    assert differences(tmp_path / "one", contents(tmp_path / "other")) != []
    (tmp_path / "one" / "scores.json").write_text(text[:-9])
    (said,) = not_whole(tmp_path / "one")
    assert said.startswith("scores.json is not whole")


def test_grading_that_is_stopped_stops_what_it_grades(tmp_path):
    """Three at once, of a submission that never ends: killed, terminated, interrupted."""
    lessons = tmp_path / "grading" / "lessons"
    lessons.mkdir(parents=True)
    endless = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(1000)\n"
    for name in ("lesson01_linear.py", "lesson03_fgsm.py"):
        (lessons / name).write_text(endless)
    numbers = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    programs = {}
    try:
        for number in numbers:
            base = tmp_path / number.name
            base.mkdir()
            programs[number] = Program("grading", base, tmp_path)
        for number, program in programs.items():
            assert until(lambda program=program: list(program.base.glob("tmp/*/work/begun")), 60), program.words()
            os.kill(program.process.pid, number)
        for number, program in programs.items():
            assert program.wait(ORPHANS), f"{number.name}: it has not stopped"
            assert program.process.returncode == numbers[number], program.words()
            assert until(lambda program=program: not program.processes(), ORPHANS), f"{number.name}: left over"
            assert "Traceback" not in program.words()
            if number != signal.SIGKILL:
                assert not list((program.base / "tmp").iterdir())
    finally:
        for program in programs.values():
            program.end()
