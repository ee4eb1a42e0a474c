"""Right answers to the exercises of lesson 9 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "through_objective": [
        (
            "a tuple of gradients",
            """
def through_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    x_adv = X + eps * x.shape[1] ** 0.5 * g / ops.sqrt((g * g).sum(axis=1, keepdims=True))
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), tuple(grad(J, parameters(model)))
""",
        ),
    ],
}
