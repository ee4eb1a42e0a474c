"""The evidence: every claim of the paper, what is measured for it, and what came out.

    claims.toml   the claims: what the paper says, its numbers, our definitions, how near is *close*
    registry.py   reads them
    results.py    measurements, their intervals over seeds and test images, the status of a claim, the results file
    report.py     results as a page to open or print, as a table in the terminal, and as Markdown

Nothing in the package but the command line imports this folder.
"""
