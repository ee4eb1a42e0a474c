"""Right answers to the exercises of lesson 14 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "violations": [
        (
            "lists of three",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, s = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
            if w > s:
                found.append([stronger, weaker, (w - s) / np.sqrt(w + s)])
    return found
""",
        ),
    ],
}
