"""Wrong answers to the exercises of lesson 8: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "adversarial_objective": [
        (
            "the weights exchanged",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = x + eps * np.sign(g)
    J = (1 - alpha) * model.loss(model(Tensor(x), rng=rng), y) + alpha * model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "alpha is the weight of the CLEAN cost",
        ),
        (
            "the sum",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    x_adv = attacks.fgsm(model, x, y, eps)
    J = model.loss(model(Tensor(x), rng=rng), y) + model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the two costs are summed",
        ),
        (
            "half of the batch attacked",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    half = len(x) // 2
    mixed = np.concatenate([x[:half], attacks.fgsm(model, x[half:], y[half:], eps)])
    J = model.loss(model(Tensor(mixed), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "half of the batch is clean and half attacked",
        ),
        (
            "only attacked images",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    J = model.loss(model(Tensor(attacks.fgsm(model, x, y, eps)), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "this is the attacked cost alone",
        ),
        (
            "the attack under masks",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    J_clean = model.loss(model(X, rng=rng), y)
    (g,) = grad(J_clean, [X])
    J = alpha * J_clean + (1 - alpha) * model.loss(model(Tensor(x + eps * np.sign(g)), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack was made under masks",
        ),
        (
            "no masks in training",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X, x_adv = Tensor(x), attacks.fgsm(model, x, y, eps)
    J = alpha * model.loss(model(X), y) + (1 - alpha) * model.loss(model(Tensor(x_adv)), y)
    return J.item(), grad(J, parameters(model))
""",
            "no pass has masks",
        ),
        (
            "the attacked cost without masks",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X, x_adv = Tensor(x), attacks.fgsm(model, x, y, eps)
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(Tensor(x_adv)), y)
    return J.item(), grad(J, parameters(model))
""",
            "only one of the costs has masks",
        ),
        (
            "downhill",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = x - eps * np.sign(g)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the sign is wrong",
        ),
        (
            "the gradient without its sign",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = x + eps * g
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the gradient's sign is missing",
        ),
        (
            "the gradients of the clean cost",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    J_clean = model.loss(model(Tensor(x), rng=rng), y)
    J_adv = model.loss(model(Tensor(attacks.fgsm(model, x, y, eps)), rng=rng), y)
    return alpha * J_clean.item() + (1 - alpha) * J_adv.item(), grad(J_clean, parameters(model))
""",
            "its gradients are those of the clean cost alone",
        ),
        (
            "clipped",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    x_adv = attacks.fgsm(model, x, y, eps, clip=(0, 1))
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack is clipped",
        ),
        (
            "works in the caller's array",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    J = alpha * model.loss(model(Tensor(x.copy()), rng=rng), y)
    X = Tensor(x)
    x += eps * np.sign(grad(model.loss(model(X), y), [X])[0])
    J = J + (1 - alpha) * model.loss(model(Tensor(x), rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "changed an array",
        ),
        (
            "a clean half that records nothing",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = Tensor(x + eps * np.sign(g))
    J = alpha * model.loss(model(x, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the clean half has no gradient",
        ),
        (
            "an attacked half that records nothing",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = x + eps * np.sign(g)
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attacked half has no gradient",
        ),
        (
            "the outputs instead of the cost",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model(X).sum(), [X])
    x_adv = Tensor(x + eps * np.sign(g))
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "the attack raises the network's outputs",
        ),
        (
            "the gradient divided by its size",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    x_adv = Tensor(x + eps * g / np.abs(g))
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
""",
            "0 / 0 where a gradient is 0",
        ),
    ],
    "transfer": [
        (
            "transposed",
            """
def transfer(networks, x, y, eps):
    examples = [attacks.fgsm(n, x, y, eps) for n in networks]
    return np.array([[np.mean(metrics.predict(n, x_adv) != y) for x_adv in examples] for n in networks])
""",
            "rows and columns are exchanged",
        ),
        (
            "the share of right answers",
            """
def transfer(networks, x, y, eps):
    examples = [attacks.fgsm(n, x, y, eps) for n in networks]
    return np.array([[np.mean(metrics.predict(n, x_adv) == y) for n in networks] for x_adv in examples])
""",
            "the share of right answers",
        ),
        (
            "made anew on the network that is shown them",
            """
def transfer(networks, x, y, eps):
    return np.array([
        [np.mean(metrics.predict(shown, attacks.fgsm(shown, x, y, eps)) != y) for shown in networks]
        for made in networks
    ])
""",
            "each network was shown its own examples",
        ),
        (
            "only examples that fool their own network",
            """
def transfer(networks, x, y, eps):
    E = []
    for made in networks:
        x_adv = attacks.fgsm(made, x, y, eps)
        wrong = metrics.predict(made, x_adv) != y
        E.append([np.mean(metrics.predict(shown, x_adv[wrong]) != y[wrong]) for shown in networks])
    return np.array(E)
""",
            "only the examples that fool their own network",
        ),
        (
            "against the answer on the clean image",
            """
def transfer(networks, x, y, eps):
    examples = [attacks.fgsm(n, x, y, eps) for n in networks]
    return np.array([
        [np.mean(metrics.predict(n, x_adv) != metrics.predict(n, x)) for n in networks] for x_adv in examples
    ])
""",
            "compared with the answer on the clean image",
        ),
        (
            "away from the prediction",
            """
def transfer(networks, x, y, eps):
    examples = [attacks.fgsm(n, x, metrics.predict(n, x), eps) for n in networks]
    return np.array([[np.mean(metrics.predict(n, x_adv) != y) for n in networks] for x_adv in examples])
""",
            "the network's own predictions",
        ),
        (
            "a number of images",
            """
def transfer(networks, x, y, eps):
    examples = [attacks.fgsm(n, x, y, eps) for n in networks]
    return np.array([[np.sum(metrics.predict(n, x_adv) != y) for n in networks] for x_adv in examples])
""",
            "a number of images, not a share",
        ),
        (
            "the diagonal alone",
            """
def transfer(networks, x, y, eps):
    return np.array([np.mean(metrics.predict(n, attacks.fgsm(n, x, y, eps)) != y) for n in networks])
""",
            "one error for each network",
        ),
    ],
    "stop": [
        (
            "counted from 0",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best, epoch
""",
            "counted from 1",
        ),
        (
            "the best of all, also of what was never trained",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best == patience:
            break
    return int(np.argmin(errors)) + 1, epoch + 1
""",
            "looks into the future",
        ),
        (
            "no stop at all",
            """
def stop(errors, patience):
    return int(np.argmin(errors)) + 1, len(errors)
""",
            "never stopped",
        ),
        (
            "equal counts as better",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] <= errors[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best + 1, epoch + 1
""",
            "an equal error counts as a new best",
        ),
        (
            "compared with the epoch before",
            """
def stop(errors, patience):
    best, waited = 0, 0
    for epoch in range(1, len(errors)):
        if errors[epoch] < errors[epoch - 1]:
            best, waited = epoch, 0
        else:
            waited += 1
        if waited == patience:
            break
    return best + 1, epoch + 1
""",
            "compared with the epoch before",
        ),
        (
            "one epoch too early",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best == patience - 1:
            break
    return best + 1, epoch + 1
""",
            "one epoch too early",
        ),
        (
            "one epoch too late",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best > patience:
            break
    return best + 1, epoch + 1
""",
            "one epoch too late",
        ),
        (
            "keeps the last epoch",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best == patience:
            break
    return epoch + 1, epoch + 1
""",
            "the last epoch is kept",
        ),
        (
            "the end of the list forgotten",
            """
def stop(errors, patience):
    best = 0
    for epoch in range(len(errors)):
        if errors[epoch] < errors[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best + 1, best + 1 + patience
""",
            "the list ends before patience does",
        ),
    ],
    "locality": [
        (
            "sizes in place of squares",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    sizes = np.abs(w).reshape(-1, side, side)
    inside = np.lib.stride_tricks.sliding_window_view(sizes, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2)) / sizes.sum(axis=(1, 2))
""",
            "sizes |w| were summed",
        ),
        (
            "weights with their signs",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    images = w.reshape(-1, side, side)
    inside = np.lib.stride_tricks.sliding_window_view(images, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2)) / images.sum(axis=(1, 2))
""",
            "so that they cancel",
        ),
        (
            "not divided",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2))
""",
            "is not divided by that over the whole filter",
        ),
        (
            "windows side by side",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    starts = range(0, side - window + 1, window)
    inside = [squares[:, r : r + window, c : c + window].sum(axis=(1, 2)) for r in starts for c in starts]
    return np.max(inside, axis=0) / squares.sum(axis=(1, 2))
""",
            "windows side by side",
        ),
        (
            "the last windows missing",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    starts = range(side - window)
    inside = [squares[:, r : r + window, c : c + window].sum(axis=(1, 2)) for r in starts for c in starts]
    return np.max(inside, axis=0) / squares.sum(axis=(1, 2))
""",
            "the last row and column of windows are missing",
        ),
        (
            "the mean over the windows",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.mean(axis=(1, 2)) / squares.sum(axis=(1, 2))
""",
            "the mean over the windows",
        ),
        (
            "one number for all filters",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return (inside.max(axis=(1, 2)) / squares.sum(axis=(1, 2))).mean()
""",
            "one number for all filters",
        ),
        (
            "divided by all filters together",
            """
def locality(w, window):
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2)) / squares.sum()
""",
            "divide by each filter's own",
        ),
    ],
}
