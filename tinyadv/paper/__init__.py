"""The evidence: every claim of the paper, what is measured for it, and what came out. In the order of a reading:

    claims.toml   the claims: what the paper says, its numbers, our definitions, how near is *close*
    registry.py   reads them
    recipes.py    which network, trained how, in which profile
    lab.py        trains each recipe's network once, or loads it
    measuring.py  what a measuring function is, and what many of them measure
    section*.py, appendix.py   the measuring functions, by the paper's sections
    audit.py, rounding.py   every other attack, and the gradient as float32 rounds it, for sections 4 to 9
    results.py    measurements, their intervals over seeds and test images, the status of a claim, the results file
    variations.py what comes out if a choice on which the paper is silent is made otherwise
    figures.py    the figures, drawn from saved results
    tables.py     results as a table in the terminal, and as Markdown
    report.py, verdict.py   results as a page to open or print; what it says of the audit
    tasks.py, cluster.py   trainings and measurements as tasks, and who works on them
    reproduce.py  the main job: all of this, once over
    readme.py     writes the tables in README.md

The files that a student reads first never import this folder.
"""
