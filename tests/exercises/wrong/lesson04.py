"""Wrong answers to the exercises of lesson 4: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "unbroadcast": [
        (
            "nothing summed",
            """
def unbroadcast(x, shape):
    return x
""",
            "nothing was summed",
        ),
        (
            "the mean",
            """
def unbroadcast(x, shape):
    x = x.mean(axis=tuple(range(x.ndim - len(shape))))
    return x.mean(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
""",
            "this is a mean",
        ),
        (
            "axes of length 1 lost",
            """
def unbroadcast(x, shape):
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))
""",
            "an axis of length 1 got lost",
        ),
        (
            "axes in front kept",
            """
def unbroadcast(x, shape):
    shape = (1,) * (x.ndim - len(shape)) + tuple(shape)
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
""",
            "an axis too many is left",
        ),
        (
            "one of the repeated entries",
            """
def unbroadcast(x, shape):
    while x.ndim > len(shape):
        x = x[0]
    for i, n in enumerate(shape):
        if n == 1:
            x = x.take([0], axis=i)
    return x
""",
            "one of the repeated entries",
        ),
        (
            "missing axes taken for the last ones",
            """
def unbroadcast(x, shape):
    while x.ndim > len(shape):
        same = [i for i in range(x.ndim) if x.shape[i + 1 :] == shape or len(shape) == 0]
        x = x.sum(axis=-1 if x.shape[: len(shape)] == shape else (same or [0])[0])
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
""",
            "missing axes in FRONT",
        ),
    ],
    "matmul_backward": [
        (
            "nothing transposed",
            """
def matmul_backward(g, y, a, b):
    return g @ b, a @ g
""",
            "b has to be transposed",
        ),
        (
            "the order of the factors",
            """
def matmul_backward(g, y, a, b):
    return g @ b.T, g @ a.T
""",
            "the factors are in the wrong order",
        ),
        (
            "swapped",
            """
def matmul_backward(g, y, a, b):
    return a.T @ g, g @ b.T
""",
            "the two parts are swapped",
        ),
        (
            "a gradient transposed",
            """
def matmul_backward(g, y, a, b):
    return g @ b.T, g.T @ a
""",
            "dL/db is transposed",
        ),
        (
            "g forgotten",
            """
def matmul_backward(g, y, a, b):
    return b.T, a.T
""",
            "the g from above is missing",
        ),
        (
            "entry by entry",
            """
def matmul_backward(g, y, a, b):
    return g * b, a * g
""",
            "entry by entry",
        ),
        (
            "NumPy's functions",
            """
def matmul_backward(g, y, a, b):
    g, a, b = map(raw, (g, a, b))
    return np.matmul(g, b.T), np.matmul(a.T, g)
""",
            "Tensors came in, and an array came out",
        ),
        (
            "an argument as a constant",
            """
def matmul_backward(g, y, a, b):
    return g @ raw(b).T, raw(a).T @ g
""",
            "does not remember everything",
        ),
        (
            "one part alone",
            """
def matmul_backward(g, y, a, b):
    return (g @ b.T,)
""",
            "two parts are wanted",
        ),
        (
            "np.dot",
            """
def matmul_backward(g, y, a, b):
    return np.dot(g, b.T), np.dot(a.T, g)
""",
            "fails with Tensors",
        ),
    ],
    "grad": [
        (
            "of several uses the last",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = part
    return [gs[x] for x in xs]
""",
            "each use adds its part",
        ),
        (
            "from the beginning to the end",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in history(y):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
""",
            "from its end to its beginning",
        ),
        (
            "no first part",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part
    return [gs[x] for x in xs]
""",
            "its first part was added to a sum that does not exist",
        ),
        (
            "a recursion that passes on what is not complete",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}

    def walk(t):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
                    walk(a)

    walk(y)
    return [gs[x] for x in xs]
""",
            "each Tensor once",
        ),
        (
            "add in place",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    if a in gs:
                        gs[a] += part
                    else:
                        gs[a] = part
    return [gs[x] for x in xs]
""",
            "changes an array that others share",
        ),
        (
            "begins with L",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(y)}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
""",
            "begin with dL/dL = 1",
        ),
        (
            "Tensors without a past",
            """
def grad(y, xs, create_graph=False):
    gs = {y: np.ones_like(y.data)}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], t.data, *map(raw, t.args))):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
    return [Tensor(gs[x]) if create_graph else gs[x] for x in xs]
""",
            "a Tensor without a history",
        ),
        (
            "always Tensors",
            """
def grad(y, xs, create_graph=False):
    gs = {y: Tensor(np.ones_like(y.data))}
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(gs[t], t, *t.args)):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
""",
            "arrays are wanted",
        ),
        (
            "gradients kept on the Tensors",
            """
def grad(y, xs, create_graph=False):
    given = (lambda a: a) if create_graph else raw
    for t in history(y):
        if t.op:
            t.g = None
        elif not hasattr(t, "g"):
            t.g = None
    y.g = given(Tensor(np.ones_like(y.data)))
    for t in reversed(history(y)):
        if t.op:
            for a, part in zip(t.args, t.op.backward(t.g, given(t), *map(given, t.args))):
                if isinstance(a, Tensor):
                    a.g = part if a.g is None else a.g + part
    return [x.g for x in xs]
""",
            "the second call adds",
        ),
        (
            "begins with a number of Python",
            """
def grad(y, xs, create_graph=False):
    gs = {y: Tensor(1.0) if create_graph else 1.0}
    for t in reversed(history(y)):
        if t.op is not None:
            args = t.args if create_graph else [raw(a) for a in t.args]
            for a, part in zip(t.args, t.op.backward(gs[t], t if create_graph else raw(t), *args)):
                if isinstance(a, Tensor):
                    gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
""",
            "begin with np.ones_like",
        ),
    ],
}
