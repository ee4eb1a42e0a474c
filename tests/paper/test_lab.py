"""Recipes and the lab: a hash names a network, and a network is trained once, on the right images, to the same bits."""

import math
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import strict
from tiny import SMALL, TINY, on_strict_device, tiny_mnist, use

from tinyadv import load, losses, models, training
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, DataError, Split
from tinyadv.layers import named_parameters, parameters
from tinyadv.metrics import evaluate
from tinyadv.models import build, save
from tinyadv.optim import SGD, Schedule
from tinyadv.paper import lab as laboratory
from tinyadv.paper import recipes, rounding, stage2
from tinyadv.paper.lab import EPS, OBJECTIVES, Lab, Recipe
from tinyadv.paper.measure.common import _used
from tinyadv.paper.profiles import PROFILES
from tinyadv.progress import Silent
from tinyadv.storage import load_arrays, save_arrays
from tinyadv.tensor import Tensor, history

# ---------------------------------------------------------------------------------------------------------
# Recipes


def test_the_hash_of_a_default_recipe_is_the_one_that_names_networks_already_trained():
    assert Recipe("softmax_regression").hash == "d57fc5db8617"
    assert len({Recipe("softmax_regression", seed=n).hash for n in range(100)}) == 100


def test_the_hash_is_the_same_in_another_process_and_in_any_order_of_keys():
    recipe = Recipe("maxout_network", {"units": 9, "keep": (1.0, 0.5)}, options={"eps": 0.1, "alpha": 0.0})
    swapped = Recipe("maxout_network", {"keep": [1.0, 0.5], "units": 9}, options={"alpha": 0.0, "eps": 0.1})
    assert recipe.hash == swapped.hash
    program = (
        "from tinyadv.paper.lab import Recipe\n"
        "print(Recipe('maxout_network', {'units': 9, 'keep': (1.0, 0.5)}, options={'eps': 0.1, 'alpha': 0.0}).hash)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == recipe.hash


def test_every_field_belongs_to_the_hash():
    other = {
        "network": "rbf_network",
        "arguments": {"units": 1},
        "data": "mnist-3v7",
        "rate_factors": {"layers.1.W": 0.5},
        "objective": "adversarial",
        "options": {"l2": 0.1},
        "epochs": 11,
        "schedule": {"decay": 2.0},
        "max_norm": 1.0,
        "batch": 99,
        "stop_on": "error",
        "patience": 99,
        "retrain": True,
        "chosen_with": 7,
        "stage2": True,
        "seed": 1,
    }
    base = Recipe("maxout_network")
    assert other.keys() == {f.name for f in fields(Recipe)}
    needs = {"chosen_with": {"stop_on": "error", "retrain": True}, "stage2": {"stop_on": "error"}}
    for name, value in other.items():
        without = replace(base, **needs.get(name, {}))
        assert replace(without, **{name: value}).hash != without.hash
    alone = {name: value for name, value in other.items() if name not in needs}
    hashes = {replace(base, **{name: value}).hash for name, value in alone.items()}
    assert len(hashes | {base.hash}) == len(alone) + 1


def test_titles_tell_the_networks_of_a_profile_apart():
    profile = PROFILES["quick"]
    titles = [
        recipe.title
        for seed in (0, 1)
        for recipe in (
            recipes.softmax_regression(profile, seed),
            recipes.logistic_regression(profile, seed),
            recipes.logistic_regression(profile, seed, adversarial=True),
            recipes.rbf_network(profile, seed),
            recipes.rbf_network(profile, seed, top="rbf-true-class"),
            recipes.maxout(profile, seed),
            recipes.maxout(profile, seed, adversarial="training"),
            recipes.maxout(profile, seed, units=1600),
            recipes.maxout(profile, seed, top="sigmoid"),
        )
    ]
    assert len(set(titles)) == len(titles)
    assert titles[6] == "maxout network 240, adversarial, seed 0"
    assert max(map(len, titles)) < 50


@pytest.mark.parametrize(("field", "value"), [("data", "mnist-3v8"), ("objective", "adverserial")])
def test_a_recipe_of_unknown_data_or_objective_is_refused_at_once(field, value):
    with pytest.raises(ValueError, match=rf"'clean' or 'adversarial'.*; got .*'{value}'"):
        Recipe("maxout_network", **{field: value})


# ---------------------------------------------------------------------------------------------------------
# The paper's networks


def test_the_maxout_networks_have_the_published_settings_and_differ_in_the_objective_alone():
    naive, adversarial = (recipes.maxout(PROFILES["paper"], 3, 1600, adversarial=a) for a in (None, "inference"))
    assert naive.arguments == {"units": 1600, "top": "softmax"}
    assert (naive.max_norm, naive.batch, naive.patience, naive.seed) == (1.9365, 100, 100, 3)
    assert (naive.data, naive.schedule, naive.retrain, naive.chosen_with) == ("mnist", {}, True, 0)
    assert (naive.stop_on, adversarial.stop_on) == ("error", "adversarial_error")
    assert adversarial.options == {"eps": 0.25, "alpha": 0.5, "attacked": "inference", "gradient": "rounded"}
    different = {name for name, value in asdict(naive).items() if asdict(adversarial)[name] != value}
    assert different == {"objective", "options", "stop_on"}


def test_the_published_protocol_stops_by_the_clean_error_and_has_stage_2():
    naive, masks = recipes.published(3), recipes.published(3, adversarial="training")
    assert (naive.stop_on, naive.patience, naive.stage2, naive.retrain) == ("error", 100, True, False)
    assert (naive.max_norm, naive.batch, naive.schedule, naive.arguments["units"]) == (1.9365, 100, {}, 240)
    assert masks.options == {"eps": 0.25, "alpha": 0.5, "attacked": "training", "gradient": "rounded"}
    assert replace(masks, objective="clean", options={}) == naive


def test_1600_units_retrain_for_the_epochs_of_one_search():
    large = [recipes.published_large(seed, 1600, "training") for seed in (0, 1)]
    assert large[0].first == large[1].first == replace(large[0], retrain=False, chosen_with=None)
    assert {(r.stop_on, r.retrain, r.arguments["units"]) for r in large} == {("adversarial_error", True, 1600)}


def test_noise_alone_sees_no_clean_image_and_trains_as_long_as_it_is_told():
    recipe = recipes.noise_alone(2, "sign", 243)
    assert (recipe.objective, recipe.options) == ("noise", {"kind": "sign", "eps": 0.25, "alpha": 0.0})
    assert (recipe.epochs, recipe.stop_on, recipe.stage2, recipe.seed, recipe.max_norm) == (243, None, False, 2, 1.9365)


def test_sigmoids_with_the_mean_of_the_classes_as_j(data, tmp_path):
    recipe = recipes.sigmoid_mean(replace(SMALL, epochs=2))
    model = build("maxout_network", recipe.arguments, generator(0, "weights"))
    assert model.top == "sigmoid"

    def mean_over_classes(model, x, y, rng):
        J, gs = losses.clean_objective(model, x, y, rng)
        return J / 10, [g / 10 for g in gs]

    training.train(
        model, mean_over_classes, *data.train, epochs=2, seed=0,
        optimiser=SGD(parameters(model), Schedule(learning_rate=0.05), 1.9365), batch=50,
    )  # fmt: skip
    other = Lab(tmp_path).network(recipe)
    for p, q in zip(parameters(model), parameters(other), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-4, atol=1e-6)


def test_profiles_only_grow():
    assert list(PROFILES) == ["quick", "lesson", "paper"]
    assert set(PROFILES["lesson"].epochs) - set(PROFILES["quick"].epochs) == {"convolutional"}  # the package has one
    for smaller, larger in pairwise(PROFILES.values()):
        assert smaller.seeds <= larger.seeds
        assert smaller.units <= larger.units
        assert all(epochs <= larger.epochs[kind] for kind, epochs in smaller.epochs.items())
    assert (PROFILES["paper"].seeds, PROFILES["paper"].units, PROFILES["paper"].protocol) == (5, 1600, True)


# ---------------------------------------------------------------------------------------------------------
# The lab


@pytest.fixture
def data(monkeypatch):
    """A tiny MNIST whose test images are not numbers: a training that touches one cannot give the same bits."""
    tiny = tiny_mnist(200, 100, 100)
    data = MNIST(tiny.train, tiny.validation, Split(np.full_like(tiny.test.x, np.nan), tiny.test.y))
    use(monkeypatch, data)
    return data


@pytest.fixture
def trainings(monkeypatch):
    """What `train` was called with, call by call."""
    calls = []

    def spy(model, objective, x, y, **settings):
        calls.append({"x": x, "y": y, **settings})
        return training.train(model, objective, x, y, **settings)

    monkeypatch.setattr(laboratory, "train", spy)
    return calls


def bits(network):
    return {name: p.data.tobytes() for name, p in named_parameters(network).items()}


def test_a_network_is_trained_once_and_then_loaded_to_the_same_bits(tmp_path, data, trainings):
    lab = Lab(tmp_path)
    trained = lab.network(SMALL)
    assert lab.network(replace(SMALL)) is trained
    assert len(trainings) == 1
    later = Lab(tmp_path)
    assert bits(later.network(SMALL)) == bits(trained) != bits(later._untrained(SMALL))
    assert later.trained(SMALL).log == lab.trained(SMALL).log
    assert len(trainings) == 1
    assert bits(load(lab.path(SMALL))) == bits(trained)  # as the command line reads it
    assert [path.name for path in tmp_path.iterdir()] == [f"{SMALL.hash}.safetensors"]  # no checkpoint is left


def test_the_log_has_the_errors_on_the_validation_images(tmp_path, data):
    lab = Lab(tmp_path)
    network, log = lab.network(SMALL), lab.trained(SMALL).log
    assert [entry["epoch"] for entry in log] == [1, 2, 3]
    clean = evaluate(network, *data.validation)
    assert (log[-1]["error"], log[-1]["confidence"]) == (clean.error, clean.confidence)
    attacked = evaluate(network, laboratory.fgsm(network, *data.validation, eps=EPS), data.validation.y)
    assert log[-1]["adversarial_error"] == attacked.error > clean.error
    assert log[-1]["adversarial_confidence_on_mistakes"] == attacked.confidence_on_mistakes
    assert log[-1]["software_error"] == attacked.error  # no p of a true class has rounded to 1


def test_the_log_has_the_attack_by_the_software_s_gradient_too(tmp_path, data, monkeypatch):
    class Downhill(rounding.Rounded):  # another gradient that is easily told from the exact one
        def loss(self, outputs, y):
            return -super().loss(outputs, y)

    monkeypatch.setattr(rounding, "Rounded", Downhill)
    lab = Lab(tmp_path)
    network = lab.network(SMALL)
    found = lab._validate(SMALL, network)
    assert found["software_error"] == found["adversarial_error"]  # no p has rounded to 1: there is but one gradient
    network.layers[-1].W.data *= 1e3
    found = lab._validate(SMALL, network)
    attacked = laboratory.fgsm(Downhill(network), *data.validation, eps=EPS)
    by_software = evaluate(network, attacked, data.validation.y)
    assert found["software_error"] == by_software.error < found["adversarial_error"]
    assert found["software_confidence_on_mistakes"] == by_software.confidence_on_mistakes


@pytest.mark.parametrize(
    ("field", "value", "attacked"),
    [
        ("objective", "clean", 50),
        ("objective", "adversarial", 200),
        ("stop_on", "error", 50),
        ("stop_on", "adversarial_error", 200),
    ],
)
def test_the_log_attacks_as_many_images_as_it_is_for(tmp_path, data, monkeypatch, field, value, attacked):
    monkeypatch.setattr(laboratory, "LOOKED_AT", 50)
    lab, (x, y) = Lab(tmp_path), data.validation
    network, recipe = lab.network(SMALL), replace(SMALL, **{field: value})
    found, some = lab._validate(recipe, network), laboratory.fgsm(network, x[:attacked], y[:attacked], eps=EPS)
    assert found["adversarial_error"] == evaluate(network, some, y[:attacked]).error
    assert found["error"] == evaluate(network, x, y).error


@pytest.mark.parametrize(("data", "eps"), [("cifar10", 0.1), ("mnist", 0.25)])
def test_the_log_s_attack_is_the_paper_s_on_these_images(tmp_path, monkeypatch, data, eps):
    rng, sizes = np.random.default_rng(0), set()
    images = Split(rng.random((9, 4), dtype="float32"), rng.integers(0, 3, 9))
    monkeypatch.setattr(Lab, "split", lambda lab, recipe, name: images)
    monkeypatch.setattr(laboratory, "fgsm", lambda model, x, y, eps: sizes.add(eps) or x)
    model = models.softmax_regression(4, 3, scale=1.0, rng=generator(0))
    Lab(tmp_path)._validate(Recipe("softmax_regression", data=data), model)
    assert sizes == {eps}


def test_an_epoch_whose_error_is_no_number_is_not_the_best(tmp_path, data, monkeypatch):
    planned = iter([0.0, math.nan, 0.9, 0.5, 0.6])  # before the first epoch, and after each
    monkeypatch.setattr(Lab, "_validate", lambda lab, recipe, model: {"error": next(planned)})
    recipe = replace(SMALL, stop_on="error", epochs=4)
    assert Lab(tmp_path).trained(recipe).epochs == 3
    assert Lab(tmp_path).trained(recipe).epochs == 3  # as it is read from the file


def test_another_seed_gives_another_network_of_the_same_training(tmp_path, data, trainings):
    lab = Lab(tmp_path)
    networks = [lab.network(replace(SMALL, seed=seed)) for seed in (0, 1)]
    assert all(a != b for a, b in zip(*(bits(n).values() for n in networks), strict=True))
    first = [bits(lab._untrained(replace(SMALL, seed=seed)))["layers.1.W"] for seed in (0, 1)]
    assert first[0] != first[1]
    assert [call["seed"] for call in trainings] == [0, 1]


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def of_another_recipe(path):
    arrays, about = load_arrays(path)
    save_arrays(path, arrays, {**about, "recipe": {**about["recipe"], "epochs": 4}})


def saved_by_hand(path):
    save(load(path), path)  # a network, but nobody knows how it was trained


@pytest.mark.parametrize("damage", [truncated, flipped, of_another_recipe, saved_by_hand])
def test_a_damaged_network_is_named_and_trained_again(tmp_path, data, trainings, capsys, damage):
    lab = Lab(tmp_path)
    trained = bits(lab.network(SMALL))
    damage(lab.path(SMALL))
    assert bits(Lab(tmp_path).network(SMALL)) == trained
    assert len(trainings) == 2
    said = capsys.readouterr().err
    assert f"{SMALL.hash}.safetensors" in said
    assert said.endswith("it is trained again\n")
    assert said.count("\n") == 1
    assert bits(Lab(tmp_path).network(SMALL)) == trained
    assert len(trainings) == 2  # the file is whole again


class Watching(Silent):
    """Counts the epochs, and presses Ctrl-C at the end of one of them if told so."""

    def __init__(self, interrupt_at=0):
        self.epochs, self.interrupt_at = 0, interrupt_at

    def end(self, entry, last):
        self.epochs += 1
        if self.epochs == self.interrupt_at:
            raise KeyboardInterrupt


PROTOCOL = replace(SMALL, stop_on="adversarial_error", patience=2, retrain=True, epochs=4)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("recipe", [SMALL, PROTOCOL], ids=["plain", "retrained"])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, data, monkeypatch, recipe, share):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    undisturbed = Watching()
    wanted = bits(Lab(tmp_path / "undisturbed", progress=undisturbed).network(recipe))
    folder, at = tmp_path / "interrupted", max(1, round(share * undisturbed.epochs))
    with pytest.raises(KeyboardInterrupt):
        Lab(folder, progress=Watching(at)).network(recipe)
    assert list(folder.glob("*.checkpoint"))
    assert not list(folder.glob("*.safetensors"))
    rest = Watching()
    assert bits(Lab(folder, progress=rest).network(recipe)) == wanted
    assert rest.epochs == undisturbed.epochs - at  # nothing is done twice
    assert [path.name for path in folder.iterdir()] == [f"{recipe.hash}.safetensors"]


def test_killed_when_its_network_has_just_been_written_it_leaves_no_checkpoint(tmp_path, data, monkeypatch):
    def save_and_stop(*arguments):
        save_arrays(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(laboratory, "save_arrays", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            Lab(tmp_path).network(SMALL)
    assert list(tmp_path.glob("*.checkpoint"))
    Lab(tmp_path).network(SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [f"{SMALL.hash}.safetensors"]


def test_interrupted_within_an_epoch_it_goes_on_from_the_last_checkpoint(tmp_path, data, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    wanted, batches, step = bits(Lab(tmp_path / "undisturbed").network(SMALL)), 0, SGD.step

    def interrupted(*arguments):
        nonlocal batches
        batches += 1
        if batches == 10:  # there are 4 in an epoch
            raise KeyboardInterrupt
        step(*arguments)

    monkeypatch.setattr(SGD, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path).network(SMALL)
    monkeypatch.setattr(SGD, "step", step)
    rest = Watching()
    assert bits(Lab(tmp_path, progress=rest).network(SMALL)) == wanted
    assert rest.epochs == 1


def test_a_damaged_checkpoint_is_named_and_the_training_starts_over(tmp_path, data, capsys):
    wanted = bits(Lab(tmp_path / "undisturbed").network(SMALL))
    lab = Lab(tmp_path)
    lab._checkpoint(SMALL, "train").write_bytes(b"not a checkpoint")
    assert bits(lab.network(SMALL)) == wanted
    said = capsys.readouterr().err
    assert f"{SMALL.hash}.{laboratory.training()}.train.checkpoint" in said
    assert said.endswith("the training starts from the beginning\n")
    assert said.count("\n") == 1


def test_a_training_that_diverges_leaves_no_network(tmp_path, data):
    with pytest.raises(training.DivergedError), np.errstate(all="ignore"):
        Lab(tmp_path).network(replace(SMALL, max_norm=None, schedule={"learning_rate": 1e9}))
    assert not list(tmp_path.glob("*.safetensors"))


# ---------------------------------------------------------------------------------------------------------
# Stage 2, and epochs that are chosen once


def test_the_published_constants_of_stage_2():
    """Best epoch 243, of 500 updates each: the rate and, to float32, the momentum of the authors' second stage."""
    after = Schedule().continued(243 * 500, 243)
    assert after.at(0, 1) == pytest.approx((0.0615082606673, 0.694376766682), rel=2e-6)
    assert after.at(1000, 77)[0] == pytest.approx(0.1 * 1.000004 ** -(243 * 500 + 1000), rel=1e-12)
    assert after.at(1000, 77)[1] == after.at(0, 1)[1]


STAGED = replace(SMALL, arguments={**SMALL.arguments, "units": 16}, stop_on="error", patience=2, epochs=6, stage2=True)
ADVERSARIAL_STAGED = replace(
    STAGED, objective="adversarial", options={"eps": 0.1, "attacked": "training", "gradient": "rounded"}
)


QUICKER = {"learning_rate": 0.05, "decay": 1.005}  # else the rate would hardly fall in so few updates


def mean_with_dropout(model, objective, x, y, seed, batch):
    """The objective, batch by batch, masks and all, weighted by their sizes."""
    rng = generator(seed, "masks of the mean objective")
    starts = range(0, len(x), batch)
    return sum(
        objective(model, x[i : i + batch], y[i : i + batch], rng)[0] * len(x[i : i + batch]) for i in starts
    ) / len(x)


@pytest.mark.parametrize("recipe", [STAGED, ADVERSARIAL_STAGED], ids=["naive", "adversarial"])
def test_stage_2_is_this_literal_loop(tmp_path, data, recipe):
    recipe = replace(recipe, schedule=QUICKER)
    lab = Lab(tmp_path)
    model = lab.network(recipe)
    first = Lab(tmp_path).network(recipe.first)
    log, best = lab.trained(recipe).log, lab.trained(recipe).epochs
    assert log == lab.trained(recipe.first).log
    assert best == min(log, key=lambda entry: entry["error"])["epoch"]
    objective = partial(OBJECTIVES[recipe.objective], **recipe.options)

    rate, momentum = Schedule(**recipe.schedule).at(best * math.ceil(len(data.train.x) / 50), best)
    target = mean_with_dropout(first, objective, *data.train, 0, 50)
    x, y = data.full_train
    velocities = [np.zeros_like(p.data) for p in parameters(first)]
    costs, updates = [], 0
    while not costs or costs[-1] > target:
        epoch = len(costs) + 1
        order, rng = (
            generator(0, f"order of epoch {epoch}").permutation(len(x)),
            generator(0, f"masks of epoch {epoch}"),
        )
        for i in range(0, len(x), 50):
            rows = order[i : i + 50]
            _, gradients = objective(first, x[rows], y[rows], rng)
            for p, v, g in zip(parameters(first), velocities, gradients, strict=True):
                v *= momentum
                v -= rate * 1.005**-updates * g
                p.data += v
                if p.data.ndim > 1:
                    norms = np.linalg.norm(p.data, axis=-1, keepdims=True)
                    p.data *= np.minimum(1.0, 1.9365 / norms)
            updates += 1
        costs.append(mean_with_dropout(first, objective, *data.validation, 0, 50))
    second = lab.stage2(recipe)
    assert second.target == pytest.approx(target, rel=1e-6)
    assert [entry["validation_objective"] for entry in second.log] == pytest.approx(costs, rel=1e-3)
    assert second.reached
    assert len(costs) > 1
    for p, q in zip(parameters(model), parameters(first), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=2e-4)


def test_stage_2_counts_updates_of_smaller_last_batches_and_keeps_the_factors_of_rates():
    def split(n):
        rng = np.random.default_rng(n)
        return Split(rng.random((n, 4), dtype="float32"), rng.integers(0, 3, n))

    asked, model = [], models.softmax_regression(4, 3, scale=1.0, rng=generator(0))
    schedule = SimpleNamespace(continued=lambda updates, epoch: asked.append((updates, epoch)) or Schedule())
    W, b = (p.data.copy() for p in parameters(model))
    stage2.stage2(
        model, losses.clean_objective, split(21), split(7), split(28), best_epoch=5, schedule=schedule, max_norm=None,
        rate_factors={"layers.0.W": 0.0}, batch=10, seed=0, epochs=1,
    )  # fmt: skip
    assert asked == [(15, 5)]  # 5 epochs of 10 + 10 + 1
    assert np.array_equal(parameters(model)[0].data, W)
    assert not np.array_equal(parameters(model)[1].data, b)


@pytest.mark.parametrize(("last", "reached"), [(0.5, True), (0.4, True), (0.6, False)])
def test_the_target_of_stage_2_is_reached_where_it_is_met(last, reached):
    log = [{"epoch": epoch, "validation_objective": J} for epoch, J in ((1, 0.9), (2, last))]
    assert stage2.Stage2(0.5, log).reached is reached


def test_stage_2_ends_after_its_epochs_and_says_so(tmp_path, data, monkeypatch):
    monkeypatch.setattr(laboratory, "stage2", partial(stage2.stage2, epochs=1))
    lab = Lab(tmp_path)
    lab.network(STAGED)
    second = lab.stage2(STAGED)
    assert (len(second.log), second.reached) == (1, False)


def test_stage_2_leaves_the_first_network_and_both_are_read_again(tmp_path, data, trainings, monkeypatch):
    lab = Lab(tmp_path)
    before = bits(lab.network(STAGED.first))
    after = bits(lab.network(STAGED))
    assert bits(lab.network(STAGED.first)) == before != after
    monkeypatch.setattr(laboratory, "stage2", None)
    again = Lab(tmp_path)
    assert (bits(again.network(STAGED)), again.stage2(STAGED)) == (after, lab.stage2(STAGED))
    about = _used(lab, STAGED, varied=False)
    assert about["stage2"] == {"epochs": len(lab.stage2(STAGED).log), "reached": lab.stage2(STAGED).reached}
    assert again.trained(STAGED).log == lab.trained(STAGED).log
    assert len(trainings) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{recipe.hash}.safetensors" for recipe in (STAGED, STAGED.first)
    )


@pytest.mark.parametrize("at", [1, 3, 7, 9])
def test_an_interrupted_stage_2_goes_on_to_the_same_bits(tmp_path, data, monkeypatch, at):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    undisturbed = Watching()
    wanted = Lab(tmp_path / "undisturbed", progress=undisturbed)
    wanted.network(STAGED)
    assert len(wanted.trained(STAGED).log) < 9 < undisturbed.epochs
    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path, progress=Watching(at)).network(STAGED)
    rest = Watching()
    lab = Lab(tmp_path, progress=rest)
    assert bits(lab.network(STAGED)) == bits(wanted.network(STAGED))
    assert lab.stage2(STAGED) == wanted.stage2(STAGED)
    assert rest.epochs == undisturbed.epochs - at


def test_a_damaged_checkpoint_of_stage_2_is_named_and_stage_2_starts_over(tmp_path, data, capsys):
    wanted = bits(Lab(tmp_path / "undisturbed").network(STAGED))
    lab = Lab(tmp_path)
    lab._checkpoint(STAGED, "full_train").write_bytes(b"not a checkpoint")
    assert bits(lab.network(STAGED)) == wanted
    assert capsys.readouterr().err.endswith("stage 2 starts from the beginning\n")


def test_the_epochs_that_one_seed_chose_serve_for_others(tmp_path, data, trainings):
    lab = Lab(tmp_path)
    recipe = replace(PROTOCOL, seed=3, chosen_with=0)
    model = lab.network(recipe)
    chooser = replace(PROTOCOL, retrain=False, seed=0)
    assert recipe.first == chooser
    assert lab.trained(recipe).epochs == lab.trained(chooser).epochs < PROTOCOL.epochs
    lab.network(replace(recipe, seed=4))
    assert [(t["seed"], len(t["x"])) for t in trainings] == [(0, 200), (3, 300), (4, 300)]
    assert [t["epochs"] for t in trainings] == [4, *[lab.trained(recipe).epochs] * 2]
    own = replace(recipe, seed=0)
    assert bits(lab.network(own)) == bits(lab.network(replace(own, chosen_with=None))) != bits(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage2": True}, "stage 2 goes on after early stopping, without retraining"),
        ({"stage2": True, "retrain": True, "stop_on": "error"}, "stage 2 goes on after early stopping"),
        ({"chosen_with": 0, "stop_on": "error"}, "chosen_with is for retraining after early stopping"),
        ({"chosen_with": 0, "retrain": True}, "chosen_with is for retraining after early stopping"),
    ],
)
def test_a_protocol_that_has_nothing_to_go_on_from_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe("maxout_network", **options)


# ---------------------------------------------------------------------------------------------------------
# One folder never mixes programs


def test_a_network_of_another_program_is_kept_aside_and_trained_again(tmp_path, data, trainings, capsys, monkeypatch):
    before = bits(Lab(tmp_path).network(SMALL))
    old = laboratory.training()
    monkeypatch.setattr(laboratory, "training", lambda: "0123456789ab")
    assert not Lab(tmp_path).has(SMALL)
    capsys.readouterr()
    assert bits(Lab(tmp_path).network(SMALL)) == before
    assert len(trainings) == 2
    aside = f"{SMALL.hash}.{old}.safetensors"
    assert sorted(path.name for path in tmp_path.iterdir()) == [aside, f"{SMALL.hash}.safetensors"]
    assert bits(load(tmp_path / aside)) == before
    assert load_arrays(tmp_path / f"{SMALL.hash}.safetensors")[1]["program"] == "0123456789ab"
    Lab(tmp_path).network(SMALL)
    assert len(trainings) == 2


def test_a_checkpoint_of_another_program_is_not_gone_on_with(tmp_path, data, capsys, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path, progress=Watching(2)).network(SMALL)
    (kept,) = tmp_path.glob("*.checkpoint")
    monkeypatch.setattr(laboratory, "training", lambda: "0123456789ab")
    rest = Watching()
    Lab(tmp_path, progress=rest).network(SMALL)
    assert rest.epochs == SMALL.epochs
    said = capsys.readouterr().err
    assert said == f"{kept.name} is of another version of the program; the training starts from the beginning\n"
    assert not list(tmp_path.glob("*.checkpoint"))


# ---------------------------------------------------------------------------------------------------------
# Which images


def test_the_protocol_chooses_the_epochs_on_the_validation_images_and_trains_from_scratch_on_all(
    tmp_path, data, trainings, monkeypatch
):
    planned = iter([0.0, 0.9, 0.3, 0.5, 0.4, 0.2])  # before the first epoch, and after each; the best is the second
    monkeypatch.setattr(Lab, "_validate", lambda lab, recipe, model: {"error": 0.0, "adversarial_error": next(planned)})
    lab, recipe = Lab(tmp_path), replace(PROTOCOL, epochs=9)
    model = lab.network(recipe)
    first, second = trainings
    assert np.array_equal(first["x"], data.train.x)
    assert (first["epochs"], len(lab.trained(recipe).log)) == (9, 4)  # patience ends it after two epochs more
    assert np.array_equal(second["x"], np.concatenate([data.train.x, data.validation.x]))
    assert np.array_equal(second["y"], np.concatenate([data.train.y, data.validation.y]))
    assert (second["epochs"], second["stopping"], second["validate"]) == (2, None, None)
    again = build("maxout_network", recipe.arguments, generator(recipe.seed, "weights"))
    optimiser = SGD(parameters(again), Schedule(**recipe.schedule), recipe.max_norm)
    x, y = data.full_train
    training.train(again, losses.clean_objective, x, y, epochs=2, seed=recipe.seed, optimiser=optimiser, batch=50)
    assert bits(again) == bits(model)


def test_the_test_images_never_matter_for_training(tmp_path, data, monkeypatch):
    without = bits(Lab(tmp_path / "without").network(PROTOCOL))  # `data` has no numbers for test images
    use(monkeypatch, tiny_mnist(200, 100, 100))
    assert bits(Lab(tmp_path / "with").network(PROTOCOL)) == without


def test_an_adversarial_recipe_descends_the_adversarial_objective_with_its_options(tmp_path, data):
    recipe = replace(SMALL, objective="adversarial", options={"eps": 0.1, "alpha": 0.3}, epochs=1)
    model = build("maxout_network", recipe.arguments, generator(0, "weights"))

    def objective(model, x, y, rng):
        return losses.adversarial_objective(model, x, y, rng, eps=0.1, alpha=0.3)

    optimiser = SGD(parameters(model), Schedule(learning_rate=0.05), 1.9365)
    training.train(model, objective, *data.train, epochs=1, seed=0, optimiser=optimiser, batch=50)
    assert bits(Lab(tmp_path).network(recipe)) == bits(model) != bits(Lab(tmp_path).network(replace(SMALL, epochs=1)))


def test_the_rbf_units_start_at_the_mean_training_image_of_their_class(tmp_path, data):
    mu = Lab(tmp_path)._untrained(recipes.rbf_network(TINY, 0)).layers[0].mu.data
    assert (mu.shape, mu.dtype) == ((10, 784), np.float32)
    for k in range(10):
        images = [x for x, label in zip(*data.train, strict=True) if label == k]
        assert mu[k] == pytest.approx(sum(images) / len(images), abs=1e-6)


def test_hidden_rbf_units_start_at_training_images_other_ones_for_each_seed(tmp_path, data):
    centres = []
    for seed in (0, 1):
        recipe = Recipe("deep_rbf_network", {"units": 5}, seed=seed)
        centres.append(Lab(tmp_path)._untrained(recipe).layers[0].mu.data)
        rows = generator(seed, "centres").permutation(len(data.train.x))[:5]
        assert np.array_equal(centres[-1], data.train.x[rows])
    assert not np.array_equal(*centres)


def test_threes_are_minus_one_and_sevens_one(tmp_path, data, trainings):
    lab = Lab(tmp_path)
    for part in ("train", "validation", "full_train", "test"):
        x, y = lab.three_or_seven(part)
        whole = getattr(data, part)
        kept = [i for i, label in enumerate(whole.y) if label in (3, 7)]
        assert len(x) == len(kept) == len(y)
        assert y.tolist() == [1 if whole.y[i] == 7 else -1 for i in kept]
        assert np.array_equal(x, whole.x[kept], equal_nan=True)
    lab.network(recipes.logistic_regression(TINY, 0))
    assert np.array_equal(trainings[0]["x"], lab.three_or_seven("train").x)
    assert lab.trained(recipes.logistic_regression(TINY, 0)).log[-1]["error"] < 0.2


# ---------------------------------------------------------------------------------------------------------
# Devices


@pytest.mark.parametrize("recipe", [recipes.rbf_network(TINY, 0), recipes.logistic_regression(TINY, 0, True)])
def test_a_training_stays_on_its_device(tmp_path, monkeypatch, recipe):
    use(monkeypatch, tiny_mnist(200, 100, 100))
    wanted = bits(Lab(tmp_path / "cpu").network(recipe))
    on_strict_device(monkeypatch)
    for _ in range(2):  # trained there, then loaded to there
        model = Lab(tmp_path / "strict", device="cuda").network(recipe)
        assert {type(p.data) for p in parameters(model)} == {strict.ndarray}
        assert {name: p.data.get().tobytes() for name, p in named_parameters(model).items()} == wanted


# ---------------------------------------------------------------------------------------------------------
# CIFAR-10


class Whitened:
    """In place of `datasets.cifar10`: images of 10 x 10, whose class decides their mean."""

    def __init__(self, n=10_030):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 10, n)
        x = (rng.normal(size=(n, 300)) + y[:, None]).astype("float32")
        self.train, self.test = Split(x, y), Split(x[:5], y[:5])


def test_a_convolutional_network_is_trained_on_whitened_images_with_rates_of_its_own(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(laboratory, "cifar10", lambda whitened: asked.append(whitened) or Whitened())
    lab = Lab(tmp_path)
    factors = {"layers.2.W": 0.0, "layers.2.b": 0.0}
    arguments = {"channels": [1, 1, 1], "units": 2, "size": 10}
    recipe = Recipe("conv_maxout_network", arguments, "cifar10", epochs=1, batch=10, rate_factors=factors)
    assert [len(lab.split(recipe, name).x) for name in ("train", "validation", "test", "full_train")] == [
        30, 10_000, 5, 10_030
    ]  # fmt: skip
    assert set(asked) == {True}
    monkeypatch.setattr(Lab, "_validate", lambda lab, recipe, model: {"error": 0.5})
    before = build("conv_maxout_network", {**arguments, "scale": 0.005}, generator(0, "weights"))  # as published
    after = lab.network(recipe)
    kept = {
        name: np.array_equal(p.data, named_parameters(before)[name].data) for name, p in named_parameters(after).items()
    }
    assert {name for name, same in kept.items() if same} == set(factors)


def test_validation_takes_as_many_images_at_a_time_as_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(laboratory, "cifar10", lambda whitened: Whitened())
    images = Split(*(a[:50] for a in Whitened().train))
    monkeypatch.setattr(Lab, "split", lambda lab, recipe, name: images)
    recipe = Recipe("conv_maxout_network", {"channels": [2, 2, 2], "units": 3, "size": 10, "scale": 0.1}, "cifar10")
    model, sizes = Lab(tmp_path)._untrained(recipe), []
    of_any_size = type(model).__call__
    monkeypatch.setattr(type(model), "__call__", lambda m, x, **k: sizes.append(len(x)) or of_any_size(m, x, **k))
    wanted = Lab(tmp_path)._validate(recipe, model)
    assert max(sizes) == 50
    of_one, of_two = (sum(t.size for t in history(model(Tensor(images.x[:n])))) for n in (1, 2))
    monkeypatch.setattr(laboratory.metrics, "AT_ONCE", 8 * (of_two - of_one))
    sizes.clear()
    assert Lab(tmp_path)._validate(recipe, model) == pytest.approx(wanted, rel=1e-5)
    assert max(sizes) == 8
    assert sum(sizes) == 1 + 2 + 4 * 50  # one row and two are counted; clean, to be attacked, attacked, is any certain


def test_without_cifar10_its_networks_say_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"python data_scripts/cifar10\.py"):
        Lab(tmp_path).network(Recipe("conv_maxout_network", {"channels": [1, 1, 1]}, "cifar10"))
