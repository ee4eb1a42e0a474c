"""Wrong answers to the exercises of lesson 3: the mistake, the answer, words that the feedback must have."""

WRONG = {
    "fgsm": [
        (
            "the sign",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x - eps * np.sign(g)
""",
            "the sign is wrong: the attack made the cost fall",
        ),
        (
            "the gradient instead of its sign",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x + eps * g
""",
            "not its sign",
        ),
        (
            "the change alone",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return eps * np.sign(g)
""",
            "x plus the change",
        ),
        (
            "eps forgotten",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x + np.sign(g)
""",
            "the size eps is missing",
        ),
        (
            "one change for the whole batch",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x + eps * np.sign(g.sum(axis=0))
""",
            "all images move the same way",
        ),
        (
            "works in the caller's array",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x += eps * np.sign(g)
    return x
""",
            "changed an array",
        ),
        (
            "up or down, never zero",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x + eps * np.where(g >= 0, 1.0, -1.0)
""",
            "sign(0) is 0",
        ),
        (
            "the formula of logistic regression",
            """
def fgsm(model, x, y, eps):
    w = parameters(model)[0].data
    return x - eps * y[:, None] * np.sign(w[:1])
""",
            "right for logistic regression, wrong for",
        ),
        (
            "a step of training as well",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    J = model.loss(model(X), y)
    g, *gradients = grad(J, [X, *parameters(model)])
    for p, gp in zip(parameters(model), gradients):
        p.data = p.data - 0.1 * gp
    return x + eps * np.sign(g)
""",
            "changed the weights",
        ),
        (
            "clipped to the range of the pixels",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return np.clip(x + eps * np.sign(g), 0, 1)
""",
            "clipped to [0, 1]",
        ),
        (
            "the output instead of the cost",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model(X).sum(), [X])
    return x + eps * np.sign(g)
""",
            "all images move the same way",
        ),
        (
            "the output downhill",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model(X).sum(), [X])
    return x - eps * np.sign(g)
""",
            "all images move the same way",
        ),
        (
            "away from the model's own answer",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    z = model(X)
    (g,) = grad(model.loss(z, np.where(z.data > 0, 1.0, -1.0)), [X])
    return x + eps * np.sign(g)
""",
            "away from the model's own answer",
        ),
        (
            "0/0 where the gradient is 0",
            """
def fgsm(model, x, y, eps):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    return x + eps * g / np.abs(g)
""",
            "0 / 0 where the gradient is 0",
        ),
    ],
    "worst_cost": [
        (
            "the sign of the attack",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, -eps * np.abs(w).sum() - y * (x @ w + b))
""",
            "the sign before eps ||w||_1 is wrong",
        ),
        (
            "the sign of the margin",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, eps * np.abs(w).sum() + y * (x @ w + b))
""",
            "the sign before y (w x + b)",
        ),
        (
            "the paper's slip",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, y * (eps * np.abs(w).sum() - (x @ w + b)))
""",
            "what the paper prints",
        ),
        (
            "the Euclidean norm",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, eps * np.linalg.norm(w) - y * (x @ w + b))
""",
            "the L1 norm",
        ),
        (
            "sum without sizes",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, eps * w.sum() - y * (x @ w + b))
""",
            "sum of their sizes",
        ),
        (
            "the bias forgotten",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, eps * np.abs(w).sum() - y * (x @ w))
""",
            "without the bias b",
        ),
        (
            "no softplus",
            """
def worst_cost(w, b, x, y, eps):
    return eps * np.abs(w).sum() - y * (x @ w + b)
""",
            "the softplus itself is missing",
        ),
        (
            "the batch's mean",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, eps * np.abs(w).sum() - y * (x @ w + b)).mean()
""",
            "one cost for each image",
        ),
        (
            "a softplus that overflows",
            """
def worst_cost(w, b, x, y, eps):
    return np.log(1 + np.exp(eps * np.abs(w).sum() - y * (x @ w + b)))
""",
            "np.logaddexp(0, a) does not",
        ),
        (
            "L1 decay",
            """
def worst_cost(w, b, x, y, eps):
    return np.logaddexp(0, -y * (x @ w + b)) + eps * np.abs(w).sum()
""",
            "stands outside of the softplus",
        ),
        (
            "overwrites the labels",
            """
def worst_cost(w, b, x, y, eps):
    y *= x @ w + b
    return np.logaddexp(0, eps * np.abs(w).sum() - y)
""",
            "changed an array",
        ),
    ],
}
