"""Right answers to the exercises of lesson 15 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "max_pool": [
        (
            "window after window",
            """
def max_pool(x, size, stride):
    H, W = x.shape
    rows, p = [], 0
    while True:
        row, q = [], 0
        while True:
            row.append(x[p : p + size, q : q + size].max())
            if q + size >= W:
                break
            q += stride
        rows.append(row)
        if p + size >= H:
            return np.array(rows)
        p += stride
""",
        ),
    ],
    "spectrum": [
        (
            "one sum",
            """
def spectrum(x, L1, L2):
    A, B = (np.exp(-2j * np.pi * np.arange(L)[:, None] * np.arange(n) / L) for L, n in zip((L1, L2), x.shape))
    return np.einsum("up,pq,vq->uv", A, x, B)
""",
        ),
    ],
    "windows": [
        (
            "a view of NumPy's",
            """
def windows(x, K, J):
    return np.lib.stride_tricks.sliding_window_view(x, (K, J)).reshape(-1, K * J)
""",
        ),
    ],
}
