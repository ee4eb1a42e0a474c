"""Wrong answers to the exercises of lesson 10: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "rbf": [
        (
            "the minus sign",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return ((d @ beta) * d).sum(axis=2).T
""",
            "the minus sign is missing",
        ),
        (
            "p and not its logarithm",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return np.exp(-((d @ beta) * d).sum(axis=2).T)
""",
            "log p is wanted",
        ),
        (
            "the logarithm of p",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return np.log(np.exp(-((d @ beta) * d).sum(axis=2).T))
""",
            "p is rounded to 0",
        ),
        (
            "classes in rows",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return -((d @ beta) * d).sum(axis=2)
""",
            "the images should be the rows",
        ),
        (
            "beta d squared",
            """
def rbf(x, mu, beta):
    return -(((x - mu[:, None]) @ beta) ** 2).sum(axis=2).T
""",
            "this is (beta d) squared",
        ),
        (
            "the diagonal alone",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return -(d * d * np.diagonal(beta, axis1=1, axis2=2)[:, None]).sum(axis=2).T
""",
            "only the diagonal",
        ),
        (
            "no centre",
            """
def rbf(x, mu, beta):
    return -((x @ beta) * x).sum(axis=2).T
""",
            "the centre is missing",
        ),
        (
            "half, as in a Gaussian",
            """
def rbf(x, mu, beta):
    d = x - mu[:, None]
    return -0.5 * ((d @ beta) * d).sum(axis=2).T
""",
            "a factor 1/2",
        ),
    ],
    "signal": [
        (
            "dJ/dp for squared errors",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (p - t)
    return np.where(t, -1.0, p / (1 - p)) if J == "rbf" else -t.astype(a.dtype)
""",
            "times p it is dJ/da",
        ),
        (
            "softmax's slope for all",
            """
def signal(a, y, J):
    return np.exp(a) - (y[:, None] == np.arange(a.shape[1]))
""",
            "need not add up to 1",
        ),
        (
            "a sign",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (t - p) * p
    return np.where(t, -1.0, p / (1 - p)) if J == "rbf" else -t.astype(a.dtype)
""",
            "the sign is wrong: p - t",
        ),
        (
            "the others forgotten",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    return 2 * (p - t) * p if J == "rbf-squared" else -t.astype(a.dtype)
""",
            "the other classes are missing",
        ),
        (
            "dJ/dp for cross-entropies",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf":
        return np.where(t, -1 / p, 1 / (1 - p))
    return 2 * (p - t) * p if J == "rbf-squared" else -t.astype(a.dtype)
""",
            "rbf: this is dJ/dp",
        ),
        (
            "p where log p was differentiated",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (p - t) * p
    return np.where(t, -1.0, p / (1 - p)) if J == "rbf" else np.where(t, -p, 0 * p)
""",
            "p is not in its slope",
        ),
        (
            "a mean over the batch",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    g = {"rbf-squared": 2 * (p - t) * p, "rbf": np.where(t, -1.0, p / (1 - p)), "rbf-true-class": -1.0 * t}[J]
    return g / len(a)
""",
            "each image's own cost",
        ),
        (
            "p / p for the label",
            """
def signal(a, y, J):
    p, t = np.exp(a), (y[:, None] == np.arange(a.shape[1])).astype(a.dtype)
    if J == "rbf-squared":
        return 2 * (p - t) * p
    return (-t / p + (1 - t) / (1 - p)) * p if J == "rbf" else -t
""",
            "rounded to 0",
        ),
        (
            "float64 targets",
            """
def signal(a, y, J):
    p, t = np.exp(a), np.eye(a.shape[1])[y]
    if J == "rbf-squared":
        return 2 * (p - t) * p
    return np.where(t > 0, -1.0, p / (1 - p)) if J == "rbf" else -t
""",
            "float64 leak",
        ),
        (
            "1 - p by subtraction",
            """
def signal(a, y, J):
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (p - t) * p
    return np.where(t, -1.0, p / (1 - p)).astype(a.dtype) if J == "rbf" else -t.astype(a.dtype)
""",
            "1 - p by subtraction",
        ),
        (
            "overwrites a",
            """
def signal(a, y, J):
    t = y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        np.exp(a, out=a)
        return 2 * (a - t) * a
    return np.where(t, -1.0, -np.exp(a) / np.expm1(a)) if J == "rbf" else -t.astype(a.dtype)
""",
            "changed an array",
        ),
    ],
    "rbf_backward": [
        (
            "the sign of the input's",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "dJ/dx: the sign is wrong",
        ),
        (
            "the centres' sign like the input's",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), -pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "dJ/dmu: the sign is wrong",
        ),
        (
            "beta taken for symmetric",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = 2 * g * (d @ beta)
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "as if beta were symmetric",
        ),
        (
            "one of two factors",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ beta.swapaxes(1, 2))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "one of them was differentiated",
        ),
        (
            "no sum over the classes",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull, pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "the sum over k is missing",
        ),
        (
            "a mean over the images for the centres",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.mean(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "dJ/dmu: a mean over the images",
        ),
        (
            "the diagonal of beta alone",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d * d).sum(axis=1)
""",
            "the diagonal alone",
        ),
        (
            "g on both sides",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ (g * d)
""",
            "g is there twice",
        ),
        (
            "beta's sign",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], g.T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), (g * d).swapaxes(1, 2) @ d
""",
            "dJ/dbeta: the sign is wrong",
        ),
        (
            "through the exponential too",
            """
def rbf_backward(g, x, mu, beta):
    d, g = x - mu[:, None], (g * np.exp(rbf(x, mu, beta))).T[:, :, None]
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
""",
            "e^a has no part in it",
        ),
    ],
    "surest": [
        (
            "past the centre",
            """
def surest(x, mu, beta, eps):
    return -(beta[:, None] * (abs(x - mu[:, None]) - eps) ** 2).sum(axis=2).T
""",
            "the max with 0 is missing",
        ),
        (
            "the farthest corner",
            """
def surest(x, mu, beta, eps):
    return -(beta[:, None] * (abs(x - mu[:, None]) + eps) ** 2).sum(axis=2).T
""",
            "the LEAST sure",
        ),
        (
            "no absolute value",
            """
def surest(x, mu, beta, eps):
    return -(beta[:, None] * np.maximum(x - mu[:, None] - eps, 0) ** 2).sum(axis=2).T
""",
            "|d| is missing",
        ),
        (
            "eps taken from the square",
            """
def surest(x, mu, beta, eps):
    return -(beta[:, None] * np.maximum((x - mu[:, None]) ** 2 - eps**2, 0)).sum(axis=2).T
""",
            "is not d^2 - eps^2",
        ),
        (
            "no square",
            """
def surest(x, mu, beta, eps):
    return -(beta[:, None] * np.maximum(abs(x - mu[:, None]) - eps, 0)).sum(axis=2).T
""",
            "the square is missing",
        ),
        (
            "the sign",
            """
def surest(x, mu, beta, eps):
    return (beta[:, None] * np.maximum(abs(x - mu[:, None]) - eps, 0) ** 2).sum(axis=2).T
""",
            "the sign is wrong",
        ),
        (
            "p",
            """
def surest(x, mu, beta, eps):
    return np.exp(-(beta[:, None] * np.maximum(abs(x - mu[:, None]) - eps, 0) ** 2).sum(axis=2).T)
""",
            "log p is wanted",
        ),
    ],
}
