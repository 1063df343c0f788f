# How GPAW's own build finds its compiler and libraries (read through GPAW_CONFIG).
# NumPy stands in for BLAS, and the built-in functionals for libxc: LDA, PBE, RPBE, revPBE and PW91.
compiler = "g++"
noblas = True
nolibxc = True
libraries = []
