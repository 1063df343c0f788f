"""Learning curves as text and as a page.

tables.py   errors, ratios with intervals, labels needed
figures.py  errors against the number of labels, log-log, with the spread of the draws
page.py     `write_curves_page`: a single HTML file that needs no network
"""
