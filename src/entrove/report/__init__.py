"""The report of a campaign: one self-contained HTML page, and a summary for the terminal.

Everything here turns `CampaignResults`, or an `AuditReport`, into text and plots; nothing reads
the campaign folder.

Read in this order:

    summary.py     the numbers: changes of errors, cost of labels, gains per round
    learning.py    errors over training labels, of a campaign and its control arm
    forecast.py    what further labels would add
    page.py        `write_report`: the page, and report.json
    record.py      what report.json holds: every number of the page
    tables.py      the tables of the page; recipes.py that of learning rates compared
    drawn.py       all its plots
    figures/       one module per kind of plot
    templates.py   fills a template and writes a page, for all pages
    template/      their HTML, style and script
    audit/         the page of an audit
    curves/        the page of learning curves
    checks/        the validation suite: its page, and its part of the report
    status.py      `status`, `summary_text`: what `entrove status` prints
    formatting.py  numbers, durations and names as text
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
