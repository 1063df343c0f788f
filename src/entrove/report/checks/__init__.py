"""The validation suite as text, tables and plots: a page of its own, and a part of the report.

sections.py  one section for each check: verdicts, numbers, plots, tables
page.py      `write_suite_page`: the page of `entrove validate --html`
"""
