"""Publishing: results of runs come among those of the package, seeds of the same networks together."""

import pytest

from tinyadv.paper.publish import publish
from tinyadv.paper.results import Measurement, Result
from tinyadv.paper.results_file import ResultsError, load_results, save_results

COMMAND = "tinyadv reproduce --profile lesson --only fgsm-softmax --out here --seeds 1"


def run(folder, seed, claim="fgsm-softmax", epochs=20, **more):
    """The folder of a run that measured one seed of one claim."""
    network = {"hash": "a", "recipe": {"network": "softmax_regression", "epochs": epochs, "seed": seed}}
    measurement = Measurement({"error": seed / 10}, networks={"softmax": network})
    result = Result(claim, more.get("profile", "lesson"), "cpu", [seed], [measurement], 1.0)
    save_results(folder / "results.json", {claim: result}, {"command": more.get("command", COMMAND), "seconds": 2.0})
    return folder


def test_seeds_come_together_and_other_networks_take_their_place(tmp_path):
    published = tmp_path / "published"
    for name, seed, epochs, seeds in (
        ("a", 0, 20, [0]),
        ("b", 2, 20, [0, 2]),
        ("c", 1, 20, [0, 1, 2]),
        ("d", 5, 30, [5]),
    ):
        said = publish([run(tmp_path / name, seed, epochs=epochs)], published)
        results, manifest = load_results(published / "lesson.json")
        assert results["fgsm-softmax"].seeds == seeds, said
    assert manifest["command"] == "tinyadv reproduce --profile lesson --only fgsm-softmax --seeds 1"
    assert "epochs" in said[0]  # why the old ones are gone


def test_profiles_go_into_files_of_their_own_and_other_claims_stay(tmp_path):
    published = tmp_path / "published"
    runs = [
        run(tmp_path / "a", 0),
        run(tmp_path / "b", 0, claim="fgsm-maxout"),
        run(tmp_path / "c", 1, profile="quick"),
    ]
    publish(runs, published)
    assert list(load_results(published / "lesson.json")[0]) == ["fgsm-softmax", "fgsm-maxout"]
    assert load_results(published / "quick.json")[0]["fgsm-softmax"].seeds == [1]


def test_the_manifest_has_the_commands_of_the_results_that_are_there(tmp_path):
    published = tmp_path / "published"
    found = []
    for name, claim in (("a", "fgsm-softmax"), ("b", "fgsm-maxout"), ("c", "fgsm-maxout")):
        publish([run(tmp_path / name, 0, claim, command=f"reproduce {name} --out={name}")], published)
        manifest = load_results(published / "lesson.json")[1]
        found.append((manifest["command"], manifest["seconds"]))
    wanted = [("reproduce a", 2.0), ("reproduce a; reproduce b", 4.0), ("reproduce a; reproduce b; reproduce c", 6.0)]
    assert found == wanted


def test_seeds_that_come_together_keep_the_commands_of_both(tmp_path):
    published = tmp_path / "published"
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        publish([run(tmp_path / name, seed, command=f"reproduce {name}")], published)
    manifest = load_results(published / "lesson.json")[1]
    assert (manifest["command"], manifest["seconds"]) == ("reproduce a; reproduce b; reproduce c", 6.0)


def test_a_folder_that_cannot_be_published_changes_nothing(tmp_path):
    published, sound = tmp_path / "published", run(tmp_path / "a", 0)
    for folder, named in ((tmp_path / "nothing", "does not exist"), (run(tmp_path / "b", 0, claim="half"), "half")):
        with pytest.raises(ResultsError, match=named):
            publish([sound, folder], published)
    assert not published.exists()


def test_beside_a_damaged_published_file_nothing_is_written(tmp_path):
    published = tmp_path / "published"
    publish([run(tmp_path / "a", 0, profile="quick")], published)
    (published / "quick.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"quick\.json"):
        publish([run(tmp_path / "b", 0), run(tmp_path / "c", 1, profile="quick")], published)
    assert [path.name for path in published.iterdir()] == ["quick.json"]
