"""Our attacks beside those of three public libraries, on the same weights, images and settings: equal to rounding.

In an environment of their own, since they bring gigabytes along:

    python -m venv attacks && attacks/bin/pip install -e ".[test,oracles]" &&
    attacks/bin/pytest -n0 -s -m libraries tests/test_attack_libraries.py

which prints how far apart they are. In float64 every attack that a library has agrees to a few roundings a step. Where
a library does something else, there is a test that shows it:

- torchattacks clips to [0, 1], always; foolbox clips to bounds that it must be given, and refuses images beyond them;
  ART clips if it is told bounds. Ours clips where it is asked, since the paper does not: they are compared with the
  bounds [0, 1], and those that can without any.
- Foolbox sums the loss over the batch, torchattacks takes the mean, ART what it is given, here the mean as is usual.
  A sign does not see the factor 1 / N. The length of an L2 step does in torchattacks, which divides by
  ||g||_2 + 1e-10, g a mean's gradient: the step shrinks as the batch grows and as the network gets sure.
  Foolbox divides by max(||g||_2, 1e-12) of the sum, ART by ||g||_2. Ours (`attacks.unit`) divides by it in a way
  that cannot underflow, of each example's own g.
- sign(0) is 0 in all of them: a pixel that no weight sees stays.
- All leave dJ/dz = p - t to PyTorch, where in float32 the true class's entry has lost its digits, and at last is 0, if
  the network is sure: that class's weights drop out of the gradient. Ours has no such cancellation. So in float32
  signs differ, on sure images many of them: ours are those of float64 where theirs are not.
- A random start is U(-eps, eps) for every entry in all, from generators of their own: given a library's numbers, ours
  takes its path. ART draws in float64 from NumPy's global state.
- No library has the rotation. Its plane and direction are those of an L2 step, scaled back to the length of x; so with
  the step's length chosen by the law of sines, an L2 step of a library must end, scaled back, where `rotate` ends.
- ART computes in float32 unless each of its modules is told otherwise: here they are.
- torchattacks has APGD and the square attack in its authors' code. Given its random start, and algorithm 1's rule for
  a step that does not help (see `apgd_of`), its APGD takes our path; given our draws, its square attack does. It draws
  one square for all images of a batch, ours one for each image.
- None has the box-constrained L-BFGS of section 2 any more: PyTorch's gradients and SciPy's minimiser, called directly.
"""

import math
import os
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from tinyadv import attacks, datasets, losses, metrics, models, optim, training
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.paper.measure import section2

pytestmark = [pytest.mark.libraries, pytest.mark.filterwarnings("ignore")]  # their warnings are not ours to mend

N, EPS, STEPS = 100, 0.25, 20
AGREEMENT: list[tuple[str, str, str, float, float]] = []  # library, attack, network, largest difference, bound


@pytest.fixture(scope="module", autouse=True)
def table():
    """Prints, last, how far apart the attacks were."""
    yield
    print(f"\n{'library':<14}{'attack':<38}{'network':<10}{'largest difference':>20}{'bound':>10}")
    for library, attack, network, difference, bound in AGREEMENT:
        print(f"{library:<14}{attack:<38}{network:<10}{difference:>20.1e}{bound:>10.1e}")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The modules; skips, with what to do, where one is missing."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))  # ART writes there when it is imported
    reason = "needs torch, foolbox, torchattacks and ART: pip install '.[oracles]', see the head of this file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = ("torch", "foolbox", "torchattacks", "art.attacks.evasion")
            torch, foolbox, torchattacks, evasion = (pytest.importorskip(name, reason=reason) for name in names)
            from art.estimators.classification import PyTorchClassifier
            from art.utils import random_sphere
    finally:
        os.environ.update({"HOME": home} if home else {})
    torch.set_num_threads(1)
    return SimpleNamespace(
        torch=torch, foolbox=foolbox, torchattacks=torchattacks, art=evasion, classifier=PyTorchClassifier,
        random_sphere=random_sphere,
    )  # fmt: skip


def art_computes_in(dtype):
    """ART's modules each keep a copy of what it computes in, by default float32."""
    for name, module in list(sys.modules.items()):
        if name.startswith("art.") and hasattr(module, "ART_NUMPY_DTYPE"):
            module.ART_NUMPY_DTYPE = np.dtype(dtype).type


@pytest.fixture(scope="module")
def trained():
    """Softmax regression and a maxout network, trained on a part of MNIST."""
    x, y = (a[:10_000] for a in datasets.mnist().train)
    made = {
        "softmax": models.softmax_regression(rng=generator(0, "weights")),
        "maxout": models.maxout_network(40, 3, scale=0.05, keep=(1.0, 1.0), rng=generator(0, "weights")),
    }
    for model in made.values():
        optimiser = optim.SGD(parameters(model))
        training.train(model, losses.clean_objective, x, y, epochs=4, seed=0, optimiser=optimiser)
        assert metrics.evaluate(model, *datasets.mnist().test).error < 0.12
    return made


@pytest.fixture(params=["softmax", "maxout"])
def case(request, trained, libraries):
    """A network in float64, the same one in PyTorch, images `(N, 784)` and labels."""
    return make_case(libraries, trained, request.param, "float64")


def make_case(libraries, trained, name, dtype):
    model = models.build(trained[name].builder, trained[name].arguments, generator(0))
    for p, q in zip(parameters(model), parameters(trained[name]), strict=True):
        p.data = q.data.astype(dtype)
    x, y = (a[:N] for a in datasets.mnist().test)
    return SimpleNamespace(name=name, model=model, torch=in_torch(libraries.torch, model), x=x.astype(dtype), y=y)


def in_torch(torch, model):
    """The network rebuilt from its parameters in PyTorch's own words; images `(N, 1, 28, 28)` -> logits."""

    class Rebuilt(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.arrays = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(p.data)) for p in parameters(model)])

        def forward(self, images):
            h = images.flatten(1)
            *hidden, W, b = self.arrays
            for V, c in zip(hidden[::2], hidden[1::2], strict=True):
                h = (torch.einsum("nd,pud->npu", h, V) + c.reshape(V.shape[:2])).amax(1)
            return torch.nn.functional.linear(h, W, b)

    return Rebuilt().eval()


def as_images(torch, x):
    return torch.tensor(x).reshape(-1, 1, 28, 28)


def flat(images):
    return np.asarray(images).reshape(len(images), -1)


# ---------------------------------------------------------------------------------------------------------
# The attacks of each library, as functions (libraries, case, ...) -> x_adv `(N, 784)`


def by_foolbox(attack, lib, case, eps, clip):
    """Without a clip: bounds that no attack reaches."""
    model = lib.foolbox.PyTorchModel(case.torch, bounds=clip or (-100.0, 100.0))
    x, y = as_images(lib.torch, case.x), lib.torch.tensor(case.y.astype("int64"))
    return flat(attack.run(model, x, lib.foolbox.criteria.Misclassification(y), epsilon=eps))


def by_art(attack, case):
    art_computes_in(case.x.dtype)
    labels = np.eye(10, dtype=case.x.dtype)[case.y]
    return flat(attack.generate(case.x.reshape(-1, 1, 28, 28), labels))


def classifier(lib, case, clip):
    loss = lib.torch.nn.CrossEntropyLoss()
    art_computes_in(case.x.dtype)
    return lib.classifier(case.torch, loss, (1, 28, 28), 10, clip_values=clip, device_type="cpu")


def by_torchattacks(attack, lib, case):
    return flat(attack(as_images(lib.torch, case.x), lib.torch.tensor(case.y.astype("int64"))).detach())


FGSM = {
    "foolbox": lambda lib, case, eps, clip: by_foolbox(
        lib.foolbox.attacks.LinfFastGradientAttack(), lib, case, eps, clip
    ),
    "ART": lambda lib, case, eps, clip: by_art(
        lib.art.FastGradientMethod(classifier(lib, case, clip), eps=eps, batch_size=N), case
    ),
    "torchattacks": lambda lib, case, eps, clip: by_torchattacks(lib.torchattacks.FGSM(case.torch, eps), lib, case),
}
PGD = {
    "foolbox": lambda lib, case, eps, steps, clip, start: by_foolbox(
        lib.foolbox.attacks.LinfPGD(rel_stepsize=2.5 / steps, steps=steps, random_start=start), lib, case, eps, clip
    ),
    "ART": lambda lib, case, eps, steps, clip, start: by_art(
        lib.art.ProjectedGradientDescent(
            classifier(lib, case, clip),
            eps=eps,
            eps_step=2.5 * eps / steps,
            max_iter=steps,
            num_random_init=int(start),
            batch_size=N,
            verbose=False,
        ),
        case,
    ),
    "torchattacks": lambda lib, case, eps, steps, clip, start: by_torchattacks(
        lib.torchattacks.PGD(case.torch, eps, 2.5 * eps / steps, steps, random_start=start), lib, case
    ),
}
L2 = {
    "foolbox": lambda lib, case, length, clip: by_foolbox(
        lib.foolbox.attacks.L2FastGradientAttack(), lib, case, length, clip
    ),
    "ART": lambda lib, case, length, clip: by_art(
        lib.art.FastGradientMethod(classifier(lib, case, clip), norm=2, eps=length, batch_size=N), case
    ),
    "torchattacks": lambda lib, case, length, clip: by_torchattacks(
        lib.torchattacks.PGDL2(case.torch, length, length, 1, random_start=False), lib, case
    ),
}
UNCLIPPED = ("foolbox", "ART")
# what clips, and with what bounds: torchattacks only to [0, 1]
CALLS = [*((name, clip) for clip in (None, (0.0, 1.0)) for name in UNCLIPPED), ("torchattacks", (0.0, 1.0))]
each_call = pytest.mark.parametrize(("library", "clip"), CALLS, ids=str)


def agree(library, attack, case, ours, theirs, bound):
    """They agree within the bound, and the attack did something; noted for the table."""
    difference = float(abs(ours - theirs).max())
    AGREEMENT.append((library, attack, case.name, difference, bound))
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == case.x.dtype
    assert abs(ours - case.x).max() > 0.1
    assert difference <= bound


def rounding(steps=1, dtype="float64"):
    """Each step adds, clips to the box and to the bounds: at most four roundings of numbers below 2, and theirs."""
    return 16 * steps * float(np.finfo(dtype).eps)


def worded(name, clip):
    return f"{name}, {'not clipped' if clip is None else 'clipped to [0, 1]'}"


@each_call
def test_fgsm(libraries, case, library, clip):
    theirs = FGSM[library](libraries, case, EPS, clip)
    ours = attacks.fgsm(case.model, case.x, case.y, EPS, clip=clip)
    agree(library, worded("FGSM", clip), case, ours, theirs, rounding())


@each_call
def test_pgd(libraries, case, library, clip):
    theirs = PGD[library](libraries, case, EPS, STEPS, clip, False)
    ours = attacks.pgd(case.model, case.x, case.y, EPS, STEPS, clip=clip)
    agree(library, worded(f"PGD, {STEPS} steps", clip), case, ours, theirs, rounding(STEPS))


@pytest.mark.parametrize("library", PGD)
def test_pgd_from_a_random_start(libraries, case, library, monkeypatch):
    """The library's numbers, drawn again from its generator, in place of ours."""
    torch = libraries.torch
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (what ART draws from)
    shape = (N, 1, 28, 28)
    if library == "foolbox":
        start = torch.rand(shape, dtype=torch.float64) * 2 * EPS - EPS
    elif library == "ART":
        start = libraries.random_sphere(N, 784, EPS, np.inf)
    else:
        start = torch.empty(shape, dtype=torch.float64).uniform_(-EPS, EPS)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    theirs = PGD[library](libraries, case, EPS, STEPS, (0.0, 1.0), True)
    monkeypatch.setattr(attacks, "noise", lambda rng, x, eps: flat(start))
    ours = attacks.pgd(case.model, case.x, case.y, EPS, STEPS, rng=generator(0), clip=(0.0, 1.0))
    assert abs(ours - attacks.pgd(case.model, case.x, case.y, EPS, STEPS, clip=(0.0, 1.0))).max() > 0.01
    agree(library, f"PGD, {STEPS} steps, their random start", case, ours, theirs, rounding(STEPS))


def test_every_library_s_random_start_is_uniform_in_the_box_as_ours_is(libraries):
    from scipy.stats import kstest

    x = np.zeros((N, 784))
    libraries.torch.manual_seed(0)
    starts = {
        "ours": attacks.noise(generator(0), x, EPS),
        "foolbox": libraries.foolbox.attacks.LinfPGD().get_random_start(
            libraries.foolbox.models.base.ep.astensor(libraries.torch.tensor(x)), EPS
        ).raw.numpy(),
        "ART": libraries.random_sphere(N, 784, EPS, np.inf),
    }  # fmt: skip
    for name, start in starts.items():
        assert kstest(start.ravel(), "uniform", args=(-EPS, 2 * EPS)).pvalue > 1e-3, name


@each_call
def test_the_l2_step(libraries, case, library, clip):
    """x + c g / ||g||_2, the direction that training through the scaled gradient takes."""
    length = EPS * 28
    theirs = L2[library](libraries, case, length, clip)
    g = attacks.input_gradient(case.model, case.x, case.y)
    ours = case.x + length * attacks.unit(g)[0]
    ours = ours if clip is None else ours.clip(*clip)
    # an entry of a unit vector is as precise as its sum of 784 squares: D eps, here of a step of length 7
    bound = length * 784 * float(np.finfo("float64").eps)
    if library == "torchattacks":  # whose step is shorter by ||g|| / (||g|| + 1e-10), g of the mean over the batch
        bound += length * float((1e-10 / (np.linalg.norm(g, axis=1) / N)).max())
    agree(library, worded("L2 step", clip), case, ours, theirs, bound)


def test_torchattacks_l2_step_shrinks_as_the_batch_grows(libraries, case):
    """The least sure image alone, and with N - 1 others: foolbox's step is the same, torchattacks' is shorter."""
    g = np.linalg.norm(attacks.input_gradient(case.model, case.x, case.y), axis=1)
    n = int(g.argmin())
    alone = SimpleNamespace(**{**vars(case), "x": case.x[n : n + 1], "y": case.y[n : n + 1]})
    ours = attacks.unit(attacks.input_gradient(case.model, case.x, case.y))[0] * 0.1
    expected = {
        "foolbox": (1.0, 1.0),
        "torchattacks": (g[n] / (g[n] + 1e-10), g[n] / N / (g[n] / N + 1e-10)),
    }
    clip = (0.0, 1.0)
    inside = (case.x[n] > 0.2) & (case.x[n] < 0.8)  # where nothing is clipped
    for library, factors in expected.items():
        for factor, given, row in zip(factors, (alone, case), (0, n), strict=True):
            step = L2[library](libraries, given, 0.1, clip)[row] - case.x[n]
            np.testing.assert_allclose(step[inside], factor * ours[n][inside], atol=1e-15, rtol=1e-9)


@pytest.mark.parametrize("library", UNCLIPPED)
@pytest.mark.parametrize("angle", [0.1, 0.5])
def test_the_rotation_is_an_l2_step_scaled_back_to_the_sphere(libraries, case, library, angle):
    """x, x + s g / ||g|| and 0 are a triangle with angles t at 0, pi - phi at x: s = ||x|| sin t / sin(phi - t)."""
    g = attacks.input_gradient(case.model, case.x, case.y)
    x_hat, g_hat = attacks.unit(case.x)[0], attacks.unit(g)[0]
    phi = 2 * np.arctan2(np.linalg.norm(x_hat - g_hat, axis=1), np.linalg.norm(x_hat + g_hat, axis=1))
    length = np.linalg.norm(case.x, axis=1)
    s = length * math.sin(angle) / np.sin(phi - angle)
    assert (s > 0).all()
    rows = []
    for n in range(20):
        one = SimpleNamespace(**{**vars(case), "x": case.x[n : n + 1], "y": case.y[n : n + 1]})
        stepped = L2[library](libraries, one, float(s[n]), None)[0]
        rows.append(stepped * length[n] / np.linalg.norm(stepped))
    case.x, case.y = case.x[:20], case.y[:20]
    ours = attacks.rotate(case.model, case.x, case.y, angle)
    # sums of 784 products on either side, of vectors of length ||x|| <= 28 / 2, over the sine of an angle above 1/2
    agree(library, f"rotation by {angle}", case, ours, np.array(rows), 28 * 784 * float(np.finfo("float64").eps))


# ---------------------------------------------------------------------------------------------------------
# APGD and the square attack, which torchattacks has as their authors published them


def apgd_of(lib, case, steps, by_the_paper):
    """torchattacks' APGD from its random start: where it starts and its points of highest J, `(N, 784)` each.

    Its rule for a step that does not help differs from algorithm 1 in which two losses it compares in the first step
    after a checkpoint, and in the very first step: of an example that has gone back to its best point it takes the loss
    from before it went back, and for the start a 0 (an entry of its table that is not filled yet). `by_the_paper` puts
    algorithm 1's comparison in its place.
    """
    torch, clip = lib.torch, (0.0, 1.0)
    attack = lib.torchattacks.APGD(case.torch, eps=EPS, steps=steps)
    x, y = as_images(torch, case.x), torch.tensor(case.y.astype("int64"))
    torch.manual_seed(1)
    t = 2 * torch.rand(x.shape) - 1
    start = case.x + EPS * flat(t / t.abs().amax((1, 2, 3), keepdim=True))
    J = -np.log(case.model.probabilities(case.model(start.clip(*clip)))[np.arange(N), case.y])
    begun = {"from": J, "best": J, "halved": np.ones(N, bool)}

    def oscillates(losses, last, k, best, k3):
        rises = (losses[last - k + 1] > begun["from"]).astype(int)
        rises += sum((losses[j] > losses[j - 1]).astype(int) for j in range(last - k + 2, last + 1))
        halved = (rises <= k * k3) | (~begun["halved"] & (begun["best"] >= best))
        begun.update({"from": np.where(halved, best, losses[last]), "best": best.copy(), "halved": halved})
        return rises <= k * k3

    if by_the_paper:
        attack.check_oscillation = oscillates
    torch.manual_seed(1)
    return start, flat(attack.attack_single_run(x, y)[0].detach())


def apgd_from(start, case, steps, monkeypatch):
    monkeypatch.setattr(attacks, "noise", lambda rng, x, eps: start - x)
    return attacks.apgd(case.model, case.x, case.y, EPS, steps, rng=generator(0), clip=(0.0, 1.0))


def losses_at(case, x):
    """J of each example, `(N,)`."""
    return np.array([float(case.model.loss(case.model(x[n : n + 1]), case.y[n : n + 1])) for n in range(len(x))])


@pytest.fixture
def sharp(monkeypatch, libraries):
    """torchattacks keeps its losses, steps and random starts in PyTorch's default dtype: float64 here."""
    libraries.torch.set_default_dtype(libraries.torch.float64)
    yield
    libraries.torch.set_default_dtype(libraries.torch.float32)


@pytest.mark.parametrize("steps", [10, 100])
def test_apgd_by_the_paper_s_rule(libraries, case, steps, sharp, monkeypatch):
    start, theirs = apgd_of(libraries, case, steps, by_the_paper=True)
    ours = apgd_from(start, case, steps, monkeypatch)
    assert (abs(ours - start.clip(0, 1)).max(axis=1) > 0.01).all()
    agree("torchattacks", f"APGD, {steps} steps, the paper's rule", case, ours, theirs, rounding(steps))


def test_apgd_by_the_library_s_own_rule_ends_as_high(libraries, case, sharp, monkeypatch):
    """Step sizes halve elsewhere for some examples: what they reach differs, by little."""
    start, theirs = apgd_of(libraries, case, 100, by_the_paper=False)
    ours = apgd_from(start, case, 100, monkeypatch)
    J_ours, J_theirs = losses_at(case, ours), losses_at(case, theirs)
    AGREEMENT.append(
        ("torchattacks", "APGD, its own rule: J of the ends", case.name, float(abs(J_ours / J_theirs - 1).max()), 0.1)
    )
    assert abs(J_ours / J_theirs - 1).max() < 0.1
    assert abs(J_ours.mean() / J_theirs.mean() - 1) < 0.01
    fooled = [(metrics.predict(case.model, x) != case.y).sum() for x in (ours, theirs)]
    assert abs(int(fooled[0]) - int(fooled[1])) <= 1


@pytest.mark.parametrize("n", range(6))
def test_the_square_attack_draw_by_draw(libraries, case, sharp, n):
    """One image, and torchattacks is handed our stripes, places and signs; it does not count the start as a query."""
    eps, queries = 0.05, 200  # too few to fool these images: every query is made
    torch, lib_attack = libraries.torch, libraries.torchattacks.Square(case.torch, eps=eps, n_queries=queries)
    rng, x_one, y_one = generator(5), case.x[n : n + 1], case.y[n : n + 1]
    drawn = []

    class Kept:
        """Our generator; what it draws is kept."""

        def choice(self, values, shape):
            drawn.append(rng.choice(values, shape))
            return drawn[-1]

        def integers(self, low, high, shape):
            drawn.append(rng.integers(low, high, shape))
            return drawn[-1]

    ours = attacks.square(case.model, x_one, y_one, eps, queries + 1, rng=Kept(), clip=(0.0, 1.0))
    stripes, places, signs = drawn[0], drawn[1::2], drawn[2::2]
    assert len(places) == queries
    handed_signs = [torch.tensor(np.sign(stripes)), *(torch.tensor(np.sign(s[0])) for s in signs)]
    corners = [torch.tensor([v]) for place in places for v in place.ravel()]
    lib_attack.random_choice = lambda shape: handed_signs.pop(0)
    lib_attack.random_int = lambda low=0, high=1: corners.pop(0)
    images = as_images(torch, x_one)
    lib_attack.init_hyperparam(images)
    theirs = flat(lib_attack.attack_single_run(images, torch.tensor(y_one.astype("int64")))[1])
    assert not handed_signs
    stripes_alone = (x_one + stripes.repeat(28, axis=2).reshape(1, -1)).clip(0.0, 1.0)
    assert (ours != stripes_alone).any()  # squares were kept
    difference = float(abs(ours - theirs).max())
    AGREEMENT.append(("torchattacks", f"square attack, {queries} queries", case.name, difference, rounding()))
    assert difference <= rounding()


# ---------------------------------------------------------------------------------------------------------
# The reasons for differences, each seen


def test_where_no_weight_sees_a_pixel_it_stays_in_every_library(libraries, trained):
    case = make_case(libraries, trained, "softmax", "float64")
    unseen = ~parameters(case.model)[0].data.any(axis=0)
    assert unseen.sum() > 50
    assert (attacks.fgsm(case.model, case.x, case.y, EPS) == case.x)[:, unseen].all()
    for library, attack in FGSM.items():
        assert (attack(libraries, case, EPS, (0.0, 1.0)) == case.x)[:, unseen].all(), library


@pytest.mark.parametrize("name", ["softmax", "maxout"])
def test_in_float32_signs_differ_because_theirs_cancel_where_the_network_is_sure(libraries, trained, name):
    """Against the signs of float64: ours are wrong for few entries, theirs for more; on the surest images for most."""
    precise, case = (make_case(libraries, trained, name, dtype) for dtype in ("float64", "float32"))
    for c in (precise, case):  # the same network, surer by a factor: its last layer's weights
        for p in parameters(c.model)[-2:]:
            p.data = p.data * (8 if name == "softmax" else 4)
        c.torch = in_torch(libraries.torch, c.model)
        c.x = case.x.astype(c.x.dtype)
    true = np.sign(attacks.input_gradient(precise.model, precise.x, precise.y))
    ours = np.sign(attacks.input_gradient(case.model, case.x, case.y))
    x = as_images(libraries.torch, case.x).requires_grad_()
    logits = case.torch(x)
    loss = libraries.torch.nn.functional.cross_entropy(logits, libraries.torch.tensor(case.y.astype("int64")))
    theirs = np.sign(flat(libraries.torch.autograd.grad(loss, x)[0]))
    wrong_ours, wrong_theirs = float((ours != true).mean()), float((theirs != true).mean())
    AGREEMENT.append(("PyTorch", "float32: signs unlike float64's", name, wrong_theirs, 1.0))
    AGREEMENT.append(("ours", "float32: signs unlike float64's", name, wrong_ours, 1e-3))
    assert wrong_ours < 1e-3
    assert wrong_theirs > 10 * wrong_ours


@pytest.mark.parametrize("library", FGSM)
def test_with_one_planted_error_nothing_agrees(libraries, case, library, monkeypatch):
    """What the comparison is worth: another eps, another label, a step more and a wrong sign are all seen."""
    clip, planted = (0.0, 1.0), []
    fgsm_theirs = FGSM[library](libraries, case, EPS, clip)
    planted.append((fgsm_theirs, attacks.fgsm(case.model, case.x, case.y, EPS * (1 + 1e-9), clip=clip)))
    planted.append((fgsm_theirs, attacks.fgsm(case.model, case.x, (case.y + 1) % 10, EPS, clip=clip)))
    pgd_theirs = PGD[library](libraries, case, EPS, STEPS, clip, False)
    planted.append((pgd_theirs, attacks.pgd(case.model, case.x, case.y, EPS, STEPS + 1, clip=clip)))
    monkeypatch.setattr(attacks.ops, "sign", lambda g: -np.sign(g))
    planted.append((fgsm_theirs, attacks.fgsm(case.model, case.x, case.y, EPS, clip=clip)))
    for theirs, ours in planted:
        assert abs(theirs - ours).max() > rounding(STEPS)


# ---------------------------------------------------------------------------------------------------------
# Section 2: box-constrained L-BFGS


def lbfgs_directly(torch, minimize, case, x, target):
    """Szegedy et al. 2014, section 4.1, written again: PyTorch's gradients, SciPy's minimiser, a bisection of log c."""
    label, x0, calls, best = torch.tensor([target]), torch.tensor(x), 0, None
    log_c, step, last = math.log(section2.START), math.log(section2.STEP), None
    for _ in range(section2.TRIES):

        def f(flat, log_c=log_c):
            nonlocal calls
            calls += 1
            v = torch.tensor(flat, requires_grad=True)
            J = torch.nn.functional.cross_entropy(case.torch(v.reshape(1, 1, 28, 28)), label)
            total = math.exp(log_c) * (v - x0).pow(2).sum() + J
            total.backward()
            return total.item(), v.grad.numpy()

        end = minimize(
            f, x, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 784, options={"maxiter": section2.ITERATIONS}
        ).x
        hit = case.torch(torch.tensor(end).reshape(1, 1, 28, 28)).argmax().item() == target
        if hit and (best is None or np.linalg.norm(end - x) < np.linalg.norm(best - x)):
            best = end
        if last is not None and hit != last:
            step /= 2
        last, log_c = hit, log_c + (step if hit else -step)
    return best, calls


def test_l_bfgs_of_section_2_is_scipy_s_on_pytorch_s_gradients(libraries, case):
    from scipy.optimize import minimize

    ours, theirs = [], []
    for n in range(5):
        x, target = case.x[n], (int(metrics.predict(case.model, case.x[n : n + 1])[0]) + 3) % 10
        found = section2.lbfgs(minimize, case.model, x[None], target)
        best, calls = lbfgs_directly(libraries.torch, minimize, case, x, target)
        assert (best is None) == (found.x_adv is None)
        assert abs(found.gradients - calls) <= 0.1 * calls  # a line search may take one step more
        ours.append(case.x[n] if best is None else found.x_adv)
        theirs.append(case.x[n] if best is None else best)
    case.x = case.x[:5]
    # not to rounding: what rounding changes in one gradient, 50 iterations amplify up to where they stop,
    # at a relative decrease of 2e-9 of the objective (SciPy's ftol): a distance of its root on this scale
    agree("SciPy, torch", "L-BFGS of section 2", case, np.array(ours), np.array(theirs), 2.2e-9**0.5 * 28)
