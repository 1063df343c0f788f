"""Outputs of DFT codes: ASE's readers, and what these do not tell.

scanned.py    what is common: what a scan of an output found, put beside what ASE has read
vasp.py       OUTCAR and vasprun.xml: which steps converged, which stress is whole
espresso.py   pw.x: which steps converged, also where ASE's reader fails
aims.py       FHI-aims: which structures converged
gpaw.py       text and .gpw: convergence, free energy, stress of recent versions
cp2k.py       a reader of ours: ASE has none for the output of CP2K
"""
