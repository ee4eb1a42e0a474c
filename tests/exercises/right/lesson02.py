"""Right answers to the exercises of lesson 2 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "numerical_gradient": [
        (
            "x stepped in place and back",
            """
def numerical_gradient(f, x, h=1e-5):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        x[i] += h
        above = f(x)
        x[i] -= 2 * h
        below = f(x)
        x[i] += h
        g[i] = (above - below) / (2 * h)
    return g
""",
        ),
    ],
    "cost": [
        (
            "one image after another",
            """
def cost(w, b, x, y):
    total = 0.0
    for n in range(len(x)):
        a = -y[n] * (float(np.dot(x[n], w)) + b)
        total += max(a, 0) + np.log1p(np.exp(-abs(a)))
    return total / len(x)
""",
        ),
        (
            "an array without axes",
            """
def cost(w, b, x, y):
    return np.array(np.logaddexp(0, -y * (x @ w + b)).mean())
""",
        ),
    ],
}
