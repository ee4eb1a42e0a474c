"""Wrong answers to the exercises of lesson 15: the mistake, the answer, and words that the feedback must have."""


def _loops(body, places="range(H - K + 1)", others="range(W - J + 1)", shape="(H - K + 1, W - J + 1)"):
    return f"""
def by_loops(x, w):
    H, W = x.shape
    K, J = w.shape
    y = np.zeros({shape}, x.dtype)
    for p in {places}:
        for q in {others}:
            y[p, q] = {body}
    return y
"""


def _pool(body, P="-(-(x.shape[0] - size) // stride) + 1", Q="-(-(x.shape[1] - size) // stride) + 1"):
    return f"""
def max_pool(x, size, stride):
    P, Q = {P}, {Q}
    y = np.zeros((P, Q), x.dtype)
    for p in range(P):
        for q in range(Q):
            y[p, q] = {body}
    return y
"""


def _spectrum(result, exponent="-2j * np.pi", size="L1", other="L2"):
    return f"""
def spectrum(x, L1, L2):
    H, W = x.shape
    A = np.exp({exponent} * np.outer(np.arange(L1), np.arange(H)) / {size})
    B = np.exp({exponent} * np.outer(np.arange(L2), np.arange(W)) / {other})
    return {result}
"""


WINDOW = "x[p : p + K, q : q + J]"
WRONG = {
    "by_loops": [
        ("mirrored", _loops(f"({WINDOW} * w[::-1, ::-1]).sum()"), "mirrored"),
        (
            "one place short",
            _loops(f"({WINDOW} * w).sum()", "range(H - K)", "range(W - J)", "(H - K, W - J)"),
            "the last row and column are missing",
        ),
        (
            "as large as the image",
            """
def by_loops(x, w):
    K, J = w.shape
    padded = np.pad(x, [(0, K - 1), (0, J - 1)])
    y = np.zeros_like(x)
    for p in range(x.shape[0]):
        for q in range(x.shape[1]):
            y[p, q] = (padded[p : p + K, q : q + J] * w).sum()
    return y
""",
            "sticks out of the image",
        ),
        ("mean", _loops(f"({WINDOW} * w).mean()"), "adds up"),
        ("largest", _loops(f"({WINDOW} * w).max()"), "adds them up"),
        ("without weights", _loops(f"{WINDOW}.sum()"), "without the kernel's weights"),
        ("float64", _loops(f"({WINDOW} * w).sum()").replace(", x.dtype)", ")"), "float64 leak"),
        (
            "as many places along both axes",
            """
def by_loops(x, w):
    K, J = w.shape
    n = x.shape[1] - J + 1
    y = np.zeros((n, n), x.dtype)
    for p in range(n):
        for q in range(n):
            y[p, q] = (x[p : p + K, q : q + J] * w).sum()
    return y
""",
            "as many places along the first axis as along the second",
        ),
        (
            "as many places along both axes, outside",
            """
def by_loops(x, w):
    K, J = w.shape
    n = x.shape[0] - K + 1
    y = np.zeros((n, n), x.dtype)
    for p in range(n):
        for q in range(n):
            y[p, q] = (x[p : p + K, q : q + J] * w).sum()
    return y
""",
            "outside of the image, or of the result",
        ),
        (
            "places exchanged",
            """
def by_loops(x, w):
    H, W = x.shape
    K, J = w.shape
    y = np.zeros((W - J + 1, H - K + 1), x.dtype)
    for p in range(W - J + 1):
        for q in range(H - K + 1):
            y[p, q] = (x[p : p + K, q : q + J] * w).sum()
    return y
""",
            "outside of the image, or of the result",
        ),
    ],
    "windows": [
        (
            "columns",
            """
def windows(x, K, J):
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    return np.stack([x[i : i + P, j : j + Q].reshape(-1) for i in range(K) for j in range(J)])
""",
            "each window should be a row",
        ),
        (
            "column by column inside",
            """
def windows(x, K, J):
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    return np.stack([x[i : i + P, j : j + Q].reshape(-1) for j in range(J) for i in range(K)], axis=1)
""",
            "the pixels of a window should go row by row",
        ),
        (
            "columns of places first",
            """
def windows(x, K, J):
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    return np.stack([x[p : p + K, q : q + J].reshape(-1) for q in range(Q) for p in range(P)])
""",
            "the windows should go row by row",
        ),
        (
            "exchanged",
            """
def windows(x, K, J):
    K, J = J, K
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    return np.stack([x[i : i + P, j : j + Q].reshape(-1) for i in range(K) for j in range(J)], axis=1)
""",
            "K and J are exchanged",
        ),
        (
            "no overlap",
            """
def windows(x, K, J):
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    return np.stack([x[p : p + K, q : q + J].reshape(-1) for p in range(0, P, K) for q in range(0, Q, J)])
""",
            "do not overlap",
        ),
        (
            "four axes",
            """
def windows(x, K, J):
    return np.lib.stride_tricks.sliding_window_view(x, (K, J))
""",
            "a matrix (P Q, K J) is wanted",
        ),
        (
            "as many windows along both axes",
            """
def windows(x, K, J):
    n = x.shape[0] - K + 1
    return np.array([x[p : p + K, q : q + J].reshape(-1) for p in range(n) for q in range(n)])
""",
            "outside of the image, or of the result",
        ),
        (
            "as many windows along both axes, too few",
            """
def windows(x, K, J):
    n = x.shape[1] - J + 1
    return np.array([x[p : p + K, q : q + J].reshape(-1) for p in range(n) for q in range(n)])
""",
            "as many windows along the first axis as along the second",
        ),
        (
            "float64",
            """
def windows(x, K, J):
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    rows = np.zeros((P * Q, K * J))
    for p in range(P):
        for q in range(Q):
            rows[p * Q + q] = x[p : p + K, q : q + J].reshape(-1)
    return rows
""",
            "float64 leak",
        ),
    ],
    "spectrum": [
        ("sign", _spectrum("A @ x @ B.T", "2j * np.pi"), "the sign of the exponent is wrong"),
        ("divided", _spectrum("A @ x @ B.T / (L1 * L2)"), "the way back"),
        ("real", _spectrum("(A @ x @ B.T).real"), "this is the real part alone"),
        ("size", _spectrum("abs(A @ x @ B.T)"), "this is the absolute value"),
        ("no 2 pi", _spectrum("A @ x @ B.T", "-1j"), "lacks its factor 2 pi"),
        ("own size", _spectrum("A @ x @ B.T", size="H", other="W"), "divide it by L1 and L2"),
        (
            "one direction",
            """
def spectrum(x, L1, L2):
    H, W = x.shape
    A = np.exp(-2j * np.pi * np.outer(np.arange(L1), np.arange(H)) / L1)
    return np.pad(A @ x, [(0, 0), (0, L2 - W)])
""",
            "only one direction",
        ),
        (
            "NumPy's transform",
            """
def spectrum(x, L1, L2):
    return np.fft.fft2(x, (L1, L2))
""",
            "np.fft is not allowed",
        ),
        (
            "NumPy's transform, imported by its name",
            """
from numpy.fft import fft2


def spectrum(x, L1, L2):
    return fft2(x, (L1, L2))
""",
            "np.fft is not allowed",
        ),
    ],
    "max_pool": [
        (
            "whole windows only",
            _pool(
                "x[p * stride : p * stride + size, q * stride : q * stride + size].max()",
                "(x.shape[0] - size) // stride + 1",
                "(x.shape[1] - size) // stride + 1",
            ),
            "stick out at the far edge are missing",
        ),
        (
            "zeros beyond the edge",
            """
def max_pool(x, size, stride):
    P, Q = (-(-(n - size) // stride) + 1 for n in x.shape)
    x = np.pad(x, [(0, size), (0, size)])
    y = np.zeros((P, Q), x.dtype)
    for p in range(P):
        for q in range(Q):
            y[p, q] = x[p * stride : p * stride + size, q * stride : q * stride + size].max()
    return y
""",
            "there are no zeros",
        ),
        ("smallest", _pool("x[p * stride : p * stride + size, q * stride : q * stride + size].min()"), "the smallest"),
        (
            "stride ignored",
            """
def max_pool(x, size, stride):
    P, Q = (n - size + 1 for n in x.shape)
    return np.array([[x[p : p + size, q : q + size].max() for q in range(Q)] for p in range(P)])
""",
            "the stride is ignored",
        ),
        (
            "size for stride",
            """
def max_pool(x, size, stride):
    P, Q = (-(-(n - size) // size) + 1 for n in x.shape)
    return np.array(
        [[x[p * size : (p + 1) * size, q * size : (q + 1) * size].max() for q in range(Q)] for p in range(P)]
    )
""",
            "every `size` pixels here",
        ),
        (
            "float64",
            """
def max_pool(x, size, stride):
    P, Q = (-(-(n - size) // stride) + 1 for n in x.shape)
    y = np.zeros((P, Q))
    for p in range(P):
        for q in range(Q):
            y[p, q] = x[p * stride : p * stride + size, q * stride : q * stride + size].max()
    return y
""",
            "float64 leak",
        ),
        (
            "in the caller's array",
            """
def max_pool(x, size, stride):
    P, Q = (-(-(n - size) // stride) + 1 for n in x.shape)
    for p in range(P):
        for q in range(Q):
            x[p, q] = x[p * stride : p * stride + size, q * stride : q * stride + size].max()
    return x[:P, :Q]
""",
            "changed an array",
        ),
    ],
}
