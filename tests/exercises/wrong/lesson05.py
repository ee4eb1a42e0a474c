"""Wrong answers to the exercises of lesson 5: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "softmax_cross_entropy": [
        (
            "the gradient of the sum",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), np.exp(log_p) - t
""",
            "N times too large",
        ),
        (
            "the sign of the gradient",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (t - np.exp(log_p)) / len(z)
""",
            "the sign is wrong",
        ),
        (
            "softmax over the wrong axis",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=0)
    log_p = z - np.log(np.exp(z).sum(axis=0))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
""",
            "softmax over the wrong axis",
        ),
        (
            "labels that count from 1",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    rows, g = np.arange(len(z)), np.exp(log_p)
    g[rows, y - 1] -= 1
    return -log_p[rows, y - 1].mean(), g / len(z)
""",
            "label off by one",
        ),
        (
            "overflow",
            """
def softmax_cross_entropy(z, y):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows, g = np.arange(len(z)), p.copy()
    g[rows, y] -= 1
    return -np.log(p[rows, y]).mean(), g / len(z)
""",
            "overflow",
        ),
        (
            "the log of p, with something added against 0",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows, g = np.arange(len(z)), p.copy()
    g[rows, y] -= 1
    return -np.log(p[rows, y] + 1e-12).mean(), g / len(z)
""",
            "J is cut off",
        ),
        (
            "float64 targets",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = np.eye(z.shape[1])[y]
    return -(t * log_p).sum(axis=1).mean(), (np.exp(log_p) - t) / len(z)
""",
            "float64 leak",
        ),
        (
            "works in the caller's array",
            """
def softmax_cross_entropy(z, y):
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
""",
            "changed an array",
        ),
        (
            "the mean over all entries",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -(t * log_p).mean(), (np.exp(log_p) - t) / len(z)
""",
            "the mean over all N K entries",
        ),
        (
            "one maximum for the batch",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max()
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
""",
            "rows of very different size",
        ),
        (
            "the maximum of each column",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=0)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
""",
            "the maximum of each column was subtracted",
        ),
        (
            "the labels of all examples from every row",
            """
def softmax_cross_entropy(z, y):
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return float(-log_p[:, y].mean()), (np.exp(log_p) - t) / np.float32(len(z))
""",
            "from every row",
        ),
    ],
    "linear_backward": [
        (
            "W transposed",
            """
def linear_backward(g, x, W):
    return g @ W.T, g.T @ x, g.sum(axis=0)
""",
            "W is transposed",
        ),
        (
            "the weights' gradient transposed",
            """
def linear_backward(g, x, W):
    return g @ W, x.T @ g, g.sum(axis=0)
""",
            "dJ/dW is transposed",
        ),
        (
            "a mean for the bias",
            """
def linear_backward(g, x, W):
    return g @ W, g.T @ x, g.mean(axis=0)
""",
            "the 1/N of the mean is in g already",
        ),
        (
            "1/N once more",
            """
def linear_backward(g, x, W):
    return g @ W, g.T @ x / len(x), g.sum(axis=0)
""",
            "dJ/dW is divided by N",
        ),
        (
            "the bias summed over the units",
            """
def linear_backward(g, x, W):
    return g @ W, g.T @ x, g.sum(axis=1)
""",
            "summed over the units",
        ),
        (
            "the bias not summed",
            """
def linear_backward(g, x, W):
    return g @ W, g.T @ x, g
""",
            "dJ/db: one for each example",
        ),
        (
            "swapped",
            """
def linear_backward(g, x, W):
    return g.T @ x, g @ W, g.sum(axis=0)
""",
            "are swapped",
        ),
        (
            "the bias forgotten",
            """
def linear_backward(g, x, W):
    return g @ W, g.T @ x
""",
            "return dJ/dx, dJ/dW, dJ/db",
        ),
        (
            "float64 by an array without a dtype",
            """
def linear_backward(g, x, W):
    db = np.zeros(len(W))
    for row in g:
        db += row
    return g @ W, g.T @ x, db
""",
            "float64 leak",
        ),
    ],
    "maxout_backward": [
        (
            "every tie gets all",
            """
def maxout_backward(g, a):
    return g[:, None] * (a == a.max(axis=1, keepdims=True))
""",
            "every tie gets the whole gradient",
        ),
        (
            "ties share",
            """
def maxout_backward(g, a):
    wins = (a == a.max(axis=1, keepdims=True)).astype(g.dtype)
    return g[:, None] * wins / wins.sum(axis=1, keepdims=True)
""",
            "ties share the gradient",
        ),
        (
            "the last of several winners",
            """
def maxout_backward(g, a):
    last = a.shape[1] - 1 - a[:, ::-1].argmax(axis=1)[:, None]
    return g[:, None] * (np.arange(a.shape[1])[:, None] == last)
""",
            "the last gets g",
        ),
        (
            "every piece",
            """
def maxout_backward(g, a):
    return np.repeat(g[:, None], a.shape[1], axis=1)
""",
            "every piece gets g",
        ),
        (
            "the maximum over the units",
            """
def maxout_backward(g, a):
    first = a.argmax(axis=2)[..., None]
    return g[:, None] * (np.arange(a.shape[2]) == first)
""",
            "the maximum over the units",
        ),
        (
            "the largest size",
            """
def maxout_backward(g, a):
    first = abs(a).argmax(axis=1)[:, None]
    return g[:, None] * (np.arange(a.shape[1])[:, None] == first)
""",
            "largest size |a|",
        ),
        (
            "the chain rule's g forgotten",
            """
def maxout_backward(g, a):
    first = a.argmax(axis=1)[:, None]
    return 1.0 * (np.arange(a.shape[1])[:, None] == first)
""",
            "the g from above is missing",
        ),
        (
            "times the piece",
            """
def maxout_backward(g, a):
    first = a.argmax(axis=1)[:, None]
    return g[:, None] * a * (np.arange(a.shape[1])[:, None] == first)
""",
            "multiplied by the piece itself",
        ),
        (
            "float64 by an array without a dtype",
            """
def maxout_backward(g, a):
    d = np.zeros(a.shape)
    n, u = np.indices(g.shape)
    d[n, a.argmax(axis=1), u] = g
    return d
""",
            "float64 leak",
        ),
        (
            "pieces as the last axis",
            """
def maxout_backward(g, a):
    first = a.argmax(axis=1)
    return g[:, :, None] * (first[:, :, None] == np.arange(a.shape[1]))
""",
            "the axes of the result",
        ),
        (
            "overwrites a",
            """
def maxout_backward(g, a):
    first = a.argmax(axis=1)
    a[...] = 0
    np.put_along_axis(a, first[:, None], g[:, None], axis=1)
    return a
""",
            "changed an array",
        ),
    ],
    "dropout_mask": [
        (
            "keep is the probability of dropping",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = (rng.random(shape) > keep).astype("float32")
    return mask / keep if rescale else mask
""",
            "that of dropping one",
        ),
        (
            "one mask for the batch",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = np.zeros(shape, "float32") + (rng.random(shape[1:]) < keep)
    return (mask / keep if rescale else mask).astype("float32")
""",
            "all rows of the mask are the same",
        ),
        (
            "times keep",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = (rng.random(shape) < keep).astype("float32")
    return mask * keep if rescale else mask
""",
            "multiplied by keep, not divided by it",
        ),
        (
            "never rescaled",
            """
def dropout_mask(rng, shape, keep, rescale):
    return (rng.random(shape) < keep).astype("float32")
""",
            "rescale is forgotten",
        ),
        (
            "always rescaled",
            """
def dropout_mask(rng, shape, keep, rescale):
    return (rng.random(shape) < keep).astype("float32") / keep
""",
            "without rescale",
        ),
        (
            "float64",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = (rng.random(shape) < keep) * 1.0
    return mask / keep if rescale else mask
""",
            "float64 leak",
        ),
        (
            "another generator",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = (np.random.default_rng().random(shape) < keep).astype("float32")
    return mask / keep if rescale else mask
""",
            "draw from `rng`",
        ),
        (
            "the same numbers at every call",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = (np.random.default_rng(0).random(shape) < keep).astype("float32")
    return mask / keep if rescale else mask
""",
            "the generator is made anew",
        ),
        (
            "the random numbers themselves",
            """
def dropout_mask(rng, shape, keep, rescale):
    u = rng.random(shape).astype("float32")
    mask = np.where(u < keep, u, 0)
    return mask / keep if rescale else mask
""",
            "more than two values",
        ),
        (
            "truth values where nothing is rescaled",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = rng.random(shape) < keep
    return mask.astype("float32") / np.float32(keep) if rescale else mask
""",
            "truth values with rescale=False",
        ),
        (
            "integers where nothing is rescaled",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = rng.binomial(1, keep, shape)
    return mask.astype("float32") / np.float32(keep) if rescale else mask
""",
            "your mask is int64",
        ),
        (
            "a fixed number",
            """
def dropout_mask(rng, shape, keep, rescale):
    mask = np.zeros(int(np.prod(shape)), "float32")
    mask[: round(keep * mask.size)] = 1 / keep if rescale else 1
    return rng.permutation(mask).reshape(shape)
""",
            "the same number of entries",
        ),
    ],
    "max_norm": [
        (
            "shorter rows scaled up",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    return limit * W / norms
""",
            "scaled up to the limit",
        ),
        (
            "columns",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=0, keepdims=True))
    return W * (limit / np.maximum(norms, limit))
""",
            "columns were scaled",
        ),
        (
            "the norm of the whole matrix",
            """
def max_norm(W, limit):
    return W * (limit / max(float(np.sqrt((W**2).sum())), limit))
""",
            "the norm of the whole matrix",
        ),
        (
            "the square root forgotten",
            """
def max_norm(W, limit):
    norms = (W**2).sum(axis=-1, keepdims=True)
    return W * (limit / np.maximum(norms, limit))
""",
            "the square root is missing",
        ),
        (
            "clipped entry by entry",
            """
def max_norm(W, limit):
    return W.clip(-limit, limit)
""",
            "clipped one by one",
        ),
        (
            "0/0 for a row of zeros",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    return np.where(norms > limit, W * limit / norms, W / norms * norms)
""",
            "a row of zeros",
        ),
        (
            "in place",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    W *= limit / np.maximum(norms, limit)
    return W
""",
            "changed an array",
        ),
        (
            "axis 1, which is the last only without pieces",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=1, keepdims=True))
    return W * (limit / np.maximum(norms, limit))
""",
            "the units of all pieces were taken together",
        ),
        (
            "length 1 in place of the limit",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    return np.where(norms > limit, W / np.maximum(norms, limit), W)
""",
            "get length 1",
        ),
        (
            "no limit above the line",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    return W / np.maximum(norms, limit)
""",
            "the limit is missing",
        ),
        (
            "without keepdims",
            """
def max_norm(W, limit):
    norms = np.sqrt((W**2).sum(axis=-1))
    return W * (limit / np.maximum(norms, limit))
""",
            "keepdims=True",
        ),
    ],
}
