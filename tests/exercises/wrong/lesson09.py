"""Wrong answers to the exercises of lesson 9: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "noise": [
        (
            "one sign for each image",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return rng.uniform(-eps, eps, shape).astype("float32")
    return (rng.choice([-eps, eps], (shape[0], 1)) * np.ones(shape)).astype("float32")
""",
            "one number for all pixels",
        ),
        (
            "three kinds of coin",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return rng.uniform(-eps, eps, shape).astype("float32")
    return (eps * rng.integers(-1, 2, shape)).astype("float32")
""",
            "some entries are 0",
        ),
        (
            "the kinds exchanged",
            """
def noise(rng, shape, eps, kind):
    if kind == "sign":
        return rng.uniform(-eps, eps, shape).astype("float32")
    return rng.choice([-eps, eps], shape).astype("float32")
""",
            "entries of different sizes",
        ),
        (
            "only upward",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return rng.uniform(0, eps, shape).astype("float32")
    return rng.choice([-eps, eps], shape).astype("float32")
""",
            "no entry is negative",
        ),
        (
            "half as wide",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return (eps * (rng.random(shape) - 0.5)).astype("float32")
    return rng.choice([-eps, eps], shape).astype("float32")
""",
            "does not reach eps",
        ),
        (
            "normal",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return (eps * rng.standard_normal(shape)).astype("float32")
    return rng.choice([-eps, eps], shape).astype("float32")
""",
            "entries larger than eps",
        ),
        (
            "eps forgotten",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return rng.uniform(-eps, eps, shape).astype("float32")
    return rng.choice([-1, 1], shape).astype("float32")
""",
            "eps is missing",
        ),
        (
            "float64",
            """
def noise(rng, shape, eps, kind):
    return rng.uniform(-eps, eps, shape) if kind == "uniform" else rng.choice([-eps, eps], shape)
""",
            "float64 leak",
        ),
        (
            "np.random",
            """
def noise(rng, shape, eps, kind):
    if kind == "uniform":
        return np.random.uniform(-eps, eps, shape).astype("float32")
    return np.random.choice([-eps, eps], shape).astype("float32")
""",
            "draw from `rng`, not from np.random",
        ),
        (
            "a generator of its own",
            """
def noise(rng, shape, eps, kind):
    rng = np.random.default_rng(0)
    if kind == "uniform":
        return rng.uniform(-eps, eps, shape).astype("float32")
    return rng.choice([-eps, eps], shape).astype("float32")
""",
            "the generator is made anew",
        ),
    ],
    "hessian_vector": [
        (
            "no graph",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X])
    (Hv,) = grad((g * v).sum(), [X])
    return Hv
""",
            "create_graph=True",
        ),
        (
            "the gradient's data",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    (Hv,) = grad((Tensor(g.data) * v).sum(), [X])
    return Hv
""",
            "has lost its history",
        ),
        (
            "v forgotten",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    (Hv,) = grad(g.sum(), [X])
    return Hv
""",
            "v is missing",
        ),
        (
            "the slope along v",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return (g.data * v).sum()
""",
            "the first derivative along v",
        ),
        (
            "v outside",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return grad((g * v).sum(), [X])[0] * v
""",
            "v should not stand outside",
        ),
        (
            "times x",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return grad((g * x).sum(), [X])[0]
""",
            "it is multiplied by v",
        ),
        (
            "times g",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return grad((g * g).sum() * 0.5, [X])[0]
""",
            "this is H times g",
        ),
        (
            "a difference quotient",
            """
def hessian_vector(f, x, v):
    h = 1e-5
    ahead, behind = (grad(f(Z), [Z])[0] for Z in (Tensor(x + h * v), Tensor(x - h * v)))
    return (ahead - behind) / (2 * h)
""",
            "like a difference quotient",
        ),
        (
            "a Tensor",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return grad((g * v).sum(), [X], create_graph=True)[0]
""",
            "returns a Tensor",
        ),
        (
            "two Tensors",
            """
def hessian_vector(f, x, v):
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    return grad((g * v).sum(), [Tensor(x)])[0]
""",
            "another Tensor",
        ),
        (
            "no Tensor",
            """
def hessian_vector(f, x, v):
    (g,) = grad(f(x), [x], create_graph=True)
    return grad((g * v).sum(), [x])[0]
""",
            "which records nothing",
        ),
    ],
    "through_objective": [
        (
            "the attack as a constant",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = Tensor((x + eps * x.shape[1] ** 0.5 * (g / length)).data)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack is a constant here",
        ),
        (
            "the length as a constant",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = np.sqrt((g.data ** 2).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the length ||g|| is a constant",
        ),
        (
            "no root of D",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "sqrt(D) is missing",
        ),
        (
            "times D",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "times D, not its root",
        ),
        (
            "the batch's length",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum())
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "each image has its own",
        ),
        (
            "no root in the length",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = (g * g).sum(axis=1, keepdims=True)
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the root is missing in the length",
        ),
        (
            "FGSM",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * ops.sign(g)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "this is FGSM",
        ),
        (
            "downhill",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x - eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the sign is wrong",
        ),
        (
            "alpha exchanged",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = (1 - alpha) * model.loss(model(Tensor(x), rng=rng), y) + alpha * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "alpha is the weight of the CLEAN cost",
        ),
        (
            "the attack under masks",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X, rng=rng), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack was made under masks",
        ),
        (
            "no masks",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x)), y) + (1 - alpha) * model.loss(model(x_adv), y)
    return J.item(), grad(J, parameters(model))
""",
            "no pass has masks",
        ),
        (
            "masks for the clean cost alone",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    length = ops.sqrt((g * g).sum(axis=1, keepdims=True))
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / length)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv), y)
    return J.item(), grad(J, parameters(model))
""",
            "only one of the costs has masks",
        ),
        (
            "the root of N",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    x_adv = x + eps * len(x) ** 0.5 * (g / ops.sqrt((g * g).sum(axis=1, keepdims=True)))
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "sqrt(N) where sqrt(D)",
        ),
    ],
    "hidden_objective": [
        (
            "h as a constant",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: Tensor(h.data + eps * np.sign(g))})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "h is a constant in the perturbed cost",
        ),
        (
            "no sign",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * g})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the sign is missing",
        ),
        (
            "downhill",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h - eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the sign is wrong",
        ),
        (
            "no eps",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "eps is missing",
        ),
        (
            "the sign of h",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(h.data)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the sign of h, not of its gradient",
        ),
        (
            "the perturbed cost alone",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the clean one is missing",
        ),
        (
            "always the first layer",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={1: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={1: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "whatever `layer` says",
        ),
        (
            "alpha exchanged",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = (1 - alpha) * model.loss(model(Tensor(x), rng=rng), y) + alpha * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "alpha is the weight of the CLEAN cost",
        ),
        (
            "the attack under masks",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), rng=rng, after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack was made under masks",
        ),
        (
            "masks for the clean cost alone",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), after={layer: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "only one of the costs has masks",
        ),
        (
            "the input",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    return losses.adversarial_objective(model, x, y, rng, eps, alpha)
""",
            "the input was perturbed",
        ),
        (
            "the number among the hidden layers",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found, layer = {}, model.hidden[layer % 2]
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "another layer was perturbed",
        ),
        (
            "behind the dropout of the layer",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer + 1: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "before its dropout",
        ),
        (
            "a clean half that records nothing",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(x, rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "the clean half has no gradient",
        ),
        (
            "the gradient divided by its size",
            """
def hidden_objective(model, x, y, rng, layer, eps, alpha):
    found = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * g / np.abs(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
""",
            "0 / 0 where a gradient is 0",
        ),
    ],
}
