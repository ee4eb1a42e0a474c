"""Wrong answers to the exercises of lesson 7: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "adversarial_gradients": [
        (
            "the gradient of the sum",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.sum() * np.sign(w) - x.T @ (s * y), -(s * y).sum()
""",
            "N times too large",
        ),
        (
            "uphill",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return x.T @ (s * y) / len(x) - eps * s.mean() * np.sign(w), (s * y).mean()
""",
            "this goes uphill",
        ),
        (
            "the penalty's own slope forgotten",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return -x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "depends on w too",
        ),
        (
            "L1 decay",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(-y * (x @ w + b))
    return eps * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "this is L1 decay",
        ),
        (
            "the push outside of s",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "s multiplies eps sign(w) too",
        ),
        (
            "s at the clean image",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(-y * (x @ w + b))
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "s is taken at the clean image",
        ),
        (
            "the paper's slip",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(y * (eps * np.abs(w).sum() - x @ w - b))
    return eps * (s * y).mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "as in the paper's slip",
        ),
        (
            "L2 in place of L1",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.mean() * w - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "is sign(w_i), not w_i",
        ),
        (
            "the bias is clean",
            """
def adversarial_gradients(w, b, x, y, eps):
    m = y * (x @ w + b)
    s = ops.sigmoid(eps * np.abs(w).sum() - m)
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(ops.sigmoid(-m) * y).mean()
""",
            "dJ/db: the attack is missing in s",
        ),
        (
            "the bias without its label",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -s.mean()
""",
            "dJ/db: the label y is missing",
        ),
        (
            "w divided by its size",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.mean() * w / np.abs(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "0 / 0",
        ),
        (
            "up or down, never zero",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.mean() * np.where(w >= 0, 1.0, -1.0) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "a weight that is 0",
        ),
        (
            "a float64 leak",
            """
def adversarial_gradients(w, b, x, y, eps):
    l1 = np.abs(w).sum(dtype="float64")
    s = ops.sigmoid(eps * l1 - y * (x @ w + b))
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "float64 leak",
        ),
        (
            "a sigmoid that overflows",
            """
def adversarial_gradients(w, b, x, y, eps):
    a = np.exp(eps * np.abs(w).sum() - y * (x @ w + b))
    s = a / (1 + a)
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "overflow",
        ),
        (
            "the slope of sigma",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    s = s * (1 - s)
    return (s[:, None] * (eps * np.sign(w) - y[:, None] * x)).mean(axis=0), -(s * y).mean()
""",
            "the slope of sigma stands where sigma itself should",
        ),
        (
            "no mean of the penalty's part",
            """
def adversarial_gradients(w, b, x, y, eps):
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    return eps * s.sum() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "the penalty's part is N times too large",
        ),
    ],
    "l1_gradients": [
        (
            "no penalty",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return -x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "is missing: this is the clean gradient",
        ),
        (
            "L2 decay",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return 2 * lam * w - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "this penalty has squares",
        ),
        (
            "the sign of the penalty",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return -lam * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "this makes them grow",
        ),
        (
            "the penalty inside of the mean",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return (lam * np.sign(w) - x.T @ (s * y)) / len(x), -(s * y).mean()
""",
            "lambda is divided by N",
        ),
        (
            "adversarial training",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(lam * np.abs(w).sum() - y * (x @ w + b))
    return lam * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "this is adversarial training",
        ),
        (
            "the penalty in place of its slope",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.abs(w).sum() - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "its slope is sign(w)",
        ),
        (
            "the bias decays too",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.sign(w) - x.T @ (s * y) / len(x), lam * np.sign(b) - (s * y).mean()
""",
            "b is penalised too",
        ),
        (
            "up or down, never zero",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.where(w > 0, 1, -1) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "the slope 0 is wanted",
        ),
        (
            "w divided by its size",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * w / np.abs(w) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "0 / 0",
        ),
        (
            "a float64 leak",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.array([np.sign(v) for v in w.tolist()]) - x.T @ (s * y) / len(x), -(s * y).mean()
""",
            "float64 leak",
        ),
        (
            "a step in the caller's array",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    dw, db = lam * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
    w -= 0.1 * dw
    return dw, db
""",
            "changed an array",
        ),
        (
            "the slope of sigma",
            """
def l1_gradients(w, b, x, y, lam):
    s = ops.sigmoid(-y * (x @ w + b))
    c = -y * s * (1 - s)
    return x.T @ c / len(x) + lam * np.sign(w), c.mean()
""",
            "the slope of sigma stands where sigma itself should",
        ),
    ],
    "added_penalty": [
        (
            "the attacked cost",
            """
def added_penalty(w, b, x, y, eps):
    return np.logaddexp(0, eps * np.abs(w).sum() - y * (x @ w + b))
""",
            "this is the attacked cost",
        ),
        (
            "clean minus attacked",
            """
def added_penalty(w, b, x, y, eps):
    m = y * (x @ w + b)
    return np.logaddexp(0, -m) - np.logaddexp(0, eps * np.abs(w).sum() - m)
""",
            "the sign is wrong",
        ),
        (
            "L1 decay",
            """
def added_penalty(w, b, x, y, eps):
    return np.full(len(x), eps * np.abs(w).sum())
""",
            "this is L1 decay's penalty",
        ),
        (
            "the paper's slip",
            """
def added_penalty(w, b, x, y, eps):
    z = x @ w + b
    return np.logaddexp(0, y * (eps * np.abs(w).sum() - z)) - np.logaddexp(0, -y * z)
""",
            "as in the paper's slip",
        ),
        (
            "the batch's mean",
            """
def added_penalty(w, b, x, y, eps):
    m = y * (x @ w + b)
    return (np.logaddexp(0, eps * np.abs(w).sum() - m) - np.logaddexp(0, -m)).mean()
""",
            "one penalty for each image",
        ),
        (
            "first order only",
            """
def added_penalty(w, b, x, y, eps):
    return eps * np.abs(w).sum() * ops.sigmoid(-y * (x @ w + b))
""",
            "this is the slope at the clean image",
        ),
        (
            "no labels",
            """
def added_penalty(w, b, x, y, eps):
    z = x @ w + b
    return np.logaddexp(0, eps * np.abs(w).sum() - z) - np.logaddexp(0, -z)
""",
            "the labels y are missing",
        ),
        (
            "the Euclidean norm",
            """
def added_penalty(w, b, x, y, eps):
    m = y * (x @ w + b)
    return np.logaddexp(0, eps * np.linalg.norm(w) - m) - np.logaddexp(0, -m)
""",
            "the L1 norm",
        ),
        (
            "a softplus that overflows",
            """
def added_penalty(w, b, x, y, eps):
    m = y * (x @ w + b)
    return np.log(1 + np.exp(eps * np.abs(w).sum() - m)) - np.log(1 + np.exp(-m))
""",
            "overflow",
        ),
        (
            "a softplus cut at 0",
            """
def added_penalty(w, b, x, y, eps):
    def zeta(a):
        return np.where(a > 30, a, np.log(1 + np.exp(np.minimum(a, 30))))
    m = y * (x @ w + b)
    return zeta(eps * np.abs(w).sum() - m) - zeta(-m)
""",
            "lost to rounding",
        ),
        (
            "overwrites the labels",
            """
def added_penalty(w, b, x, y, eps):
    y *= x @ w + b
    return np.logaddexp(0, eps * np.abs(w).sum() - y) - np.logaddexp(0, -y)
""",
            "changed an array",
        ),
    ],
}
