"""Audit labelled files: every mistake that evidence shows, with file, frame, evidence and remedy.

Read in this order::

    findings.py           what a finding is
    frame_checks.py       what is wrong with a frame by itself
    spool.py              frames on disk, so that memory does not grow with the files
    basis.py              two- and three-body functions of the surroundings of atoms
    quick_potential.py    a potential fitted to the set itself
    witness.py            what it, or a model, says of every frame
    label_conventions.py  units, signs and orders of the labels of each file
    residual_findings.py  labels that the witness contradicts, one by one or as a group
    repeated.py           duplicates, contradicting labels, leakage
    symmetry.py           space groups and rotations
    coverage.py           compositions, phases, densities, distances, temperatures
    report.py             `AuditReport`: what is returned
    audit.py              `audit`: files in, a report out
"""
