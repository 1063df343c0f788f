"""How GPAW's build finds compiler and libraries; the variable GPAW_CONFIG names this file.

GPAW is compiled when it is installed, and its build fails without such a file. With this one it
needs a C++ compiler and nothing else: NumPy replaces BLAS, and the built-in functionals (LDA, PBE,
RPBE, revPBE, PW91) replace libxc.
"""

compiler = "g++"
noblas = True
nolibxc = True
libraries = []
