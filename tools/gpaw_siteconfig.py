# How GPAW's own build finds its compiler and libraries (read through GPAW_CONFIG).
# NumPy replaces BLAS, and the built-in functionals replace libxc: LDA, PBE, RPBE, revPBE, PW91.
compiler = "g++"
noblas = True
nolibxc = True
libraries = []
