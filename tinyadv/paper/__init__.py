"""The evidence: every claim of the paper, what is measured for it, and what came out. In the order of a reading:

    claims.toml   the claims: what the paper says, its numbers, our definitions, how near is *close*
    registry.py   reads them
    recipes.py    which network, trained how; trains each once, or loads it
    measuring.py  what a measuring function is
    section*.py, appendix.py   the measuring functions, by the paper's sections
    results.py    measurements, their intervals over seeds and test images, the status of a claim, the results file
    figures.py    the figures, drawn from saved results
    report.py     results as a page to open or print, as a table in the terminal, and as Markdown
    reproduce.py  the main job: all of this, once over
    readme.py     writes the table in README.md

The files that a student reads first never import this folder.
"""
