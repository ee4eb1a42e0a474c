"""Wrong answers to the exercises of lesson 2: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "cost": [
        (
            "the sum of the batch",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, -y * (x @ w + b)).sum()
""",
            "J is their mean",
        ),
        (
            "the sign",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, y * (x @ w + b)).mean()
""",
            "the sign is wrong",
        ),
        (
            "labels taken for 0 and 1",
            """
def cost(w, b, x, y):
    z = x @ w + b
    return (np.logaddexp(0, z) - y * z).mean()
""",
            "takes them for 0 and 1",
        ),
        (
            "exp that overflows",
            """
def cost(w, b, x, y):
    return np.log(1 + np.exp(-y * (x @ w + b))).mean()
""",
            "overflow",
        ),
        (
            "no bias",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, -y * (x @ w)).mean()
""",
            "the bias b is missing",
        ),
        (
            "not averaged",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, -y * (x @ w + b))
""",
            "J is one number",
        ),
        (
            "clipped against overflow",
            """
def cost(w, b, x, y):
    return np.log(1 + np.exp((-y * (x @ w + b)).clip(-50, 50))).mean()
""",
            "clipped",
        ),
        (
            "no labels",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, -(x @ w + b)).mean()
""",
            "as if its label were 1",
        ),
        (
            "no labels, the other sign",
            """
def cost(w, b, x, y):
    return np.logaddexp(0, x @ w + b).mean()
""",
            "as if its label were -1",
        ),
        (
            "overwrites the labels",
            """
def cost(w, b, x, y):
    y *= -(x @ w + b)
    return np.logaddexp(0, y).mean()
""",
            "changed an array",
        ),
        (
            "w as a column",
            """
def cost(w, b, x, y):
    z = x @ w[:, None] + b
    return np.logaddexp(0, -y * z).mean()
""",
            "z has the shape (N, 1)",
        ),
        (
            "arguments in another order",
            """
def cost(x, y, w, b):
    return np.logaddexp(0, -y * (x @ w + b)).mean()
""",
            "in the order w, b, x, y",
        ),
        (
            "yield in place of return",
            """
def cost(w, b, x, y):
    yield np.logaddexp(0, -y * (x @ w + b)).mean()
""",
            "gives a generator",
        ),
    ],
    "gradients": [
        (
            "the sign",
            """
def gradients(w, b, x, y):
    c = y * sigmoid(-y * (x @ w + b))
    return x.T @ c / len(x), c.mean()
""",
            "the sign is wrong",
        ),
        (
            "the gradient of the sum",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return x.T @ c, c.sum()
""",
            "N times too large",
        ),
        (
            "the probability of the right class",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(y * (x @ w + b))
    return x.T @ c / len(x), c.mean()
""",
            "probability of the WRONG class",
        ),
        (
            "the label forgotten",
            """
def gradients(w, b, x, y):
    c = -sigmoid(-y * (x @ w + b))
    return x.T @ c / len(x), c.mean()
""",
            "the label y is missing",
        ),
        (
            "the bias's gradient not averaged",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return x.T @ c / len(x), c
""",
            "one number for each image",
        ),
        (
            "the mean over the wrong axis's length",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return x.T @ c / x.shape[1], c.mean()
""",
            "a mean over the D pixels",
        ),
        (
            "float64 by an array without a dtype",
            """
def gradients(w, b, x, y):
    dw = np.zeros(len(w))
    c = -y * sigmoid(-y * (x @ w + b))
    for n in range(len(x)):
        dw += c[n] * x[n] / len(x)
    return dw, c.mean()
""",
            "float64 leak",
        ),
        (
            "the formula for labels 0 and 1",
            """
def gradients(w, b, x, y):
    c = sigmoid(x @ w + b) - y
    return x.T @ c / len(x), c.mean()
""",
            "formula for labels 0 and 1",
        ),
        (
            "steps by itself",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    dw, db = x.T @ c / len(x), c.mean()
    w -= 0.2 * dw
    return dw, db
""",
            "changed an array",
        ),
        (
            "the slope of sigma",
            """
def gradients(w, b, x, y):
    p = sigmoid(-y * (x @ w + b))
    c = -y * p * (1 - p)
    return x.T @ c / len(x), c.mean()
""",
            "the slope of sigma stands where sigma itself should",
        ),
        (
            "the slope of sigma for the bias",
            """
def gradients(w, b, x, y):
    p = sigmoid(-y * (x @ w + b))
    return x.T @ (-y * p) / len(x), (-y * p * (1 - p)).mean()
""",
            "for the bias: the slope of sigma",
        ),
        (
            "no bias",
            """
def gradients(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w))
    return x.T @ c / len(x), c.mean()
""",
            "the bias b is missing",
        ),
        (
            "w as a column",
            """
def gradients(w, b, x, y):
    z = x @ w[:, None] + b
    c = -y * sigmoid(-y * z)
    return x.T @ c / len(x), c.mean()
""",
            "z has the shape (N, 1)",
        ),
        (
            "w as a column, and a mean over the images",
            """
def gradients(w, b, x, y):
    z = x @ w[:, None] + b
    c = -y * sigmoid(-y * z)
    return (x.T @ c).mean(axis=1), c.mean()
""",
            "z has the shape (N, 1)",
        ),
    ],
    "input_gradient": [
        (
            "the batch's 1/N",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b)) / len(x)
    return c[:, None] * w
""",
            "N times too small",
        ),
        (
            "the sign",
            """
def input_gradient(w, b, x, y):
    c = y * sigmoid(-y * (x @ w + b))
    return c[:, None] * w
""",
            "the sign is wrong",
        ),
        (
            "x in place of w",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return c[:, None] * x
""",
            "WEIGHTS' gradient",
        ),
        (
            "summed over the batch",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return c.sum() * w
""",
            "summed over the images",
        ),
        (
            "transposed",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return np.outer(w, c)
""",
            "transposed",
        ),
        (
            "float64 by an array without a dtype",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w + b))
    return c[:, None] * w * np.ones(x.shape)
""",
            "float64 leak",
        ),
        (
            "the slope of sigma",
            """
def input_gradient(w, b, x, y):
    p = sigmoid(-y * (x @ w + b))
    return (-y * p * (1 - p))[:, None] * w
""",
            "the slope of sigma stands where sigma itself should",
        ),
        (
            "the formula for labels 0 and 1",
            """
def input_gradient(w, b, x, y):
    c = sigmoid(x @ w + b) - y
    return c[:, None] * w
""",
            "formula for labels 0 and 1",
        ),
        (
            "no bias",
            """
def input_gradient(w, b, x, y):
    c = -y * sigmoid(-y * (x @ w))
    return c[:, None] * w
""",
            "the bias b is missing",
        ),
    ],
    "numerical_gradient": [
        (
            "one-sided",
            """
def numerical_gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        v = x.copy()
        v[i] += h
        g[i] = (f(v) - f(x)) / h
    return g
""",
            "one-sided",
        ),
        (
            "divided by h where the points are 2h apart",
            """
def numerical_gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        g[i] = (f(x + step) - f(x - step)) / h
    return g
""",
            "are 2h apart",
        ),
        (
            "all entries at once",
            """
def numerical_gradient(f, x, h=1e-5):
    return np.full_like(x, (f(x + h) - f(x - h)) / (2 * h))
""",
            "all entries stepped at once",
        ),
        (
            "x left moved",
            """
def numerical_gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        above = f(x)
        x[i] -= 2 * h
        g[i] = (above - f(x)) / (2 * h)
    return g
""",
            "not put back",
        ),
        (
            "not divided",
            """
def numerical_gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        g[i] = f(x + step) - f(x - step)
    return g
""",
            "not divided by the step",
        ),
    ],
}
