"""Audit labelled files: every mistake that evidence shows, with file, frame, evidence and remedy.

Read in this order::

    findings.py           what a finding is
    frame_checks.py       what is wrong with a frame by itself
    spool.py              frames on disk, so that memory does not grow with the files
    reading.py            files into the spool
    predictions/          what the labels of every frame should be, by the others or by a model
    conventions/          units, signs and orders of the labels of each file
    references.py         what energies are measured from
    levels.py             groups of labels of another level of theory
    residual_findings.py  single labels that predictions contradict
    small_sets.py         gaps that no geometry explains, and what a few frames leave open
    geometries.py         geometries far from all others
    equal_geometries.py   frames of equal and nearly equal geometry
    repeated.py           duplicates, contradicting labels, leakage
    coverage.py           compositions, phases, densities, distances, temperatures
    report.py             `AuditReport`: what is returned
    audit.py              `audit`: files in, a report out
"""
