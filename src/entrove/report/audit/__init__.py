"""The page of an audit: one self-contained HTML file.

page.py       `write_audit_page`: an `AuditReport` in, a page out
figures.py    histograms and the map of geometries
pictures.py   a structure as a small drawing
"""
