"""Labelled structures from and to files, in the formats of this field.

Read in this order; each file imports only from those above it::

    addresses.py         addresses of database servers, given in the place of a file
    frame.py             Frame and LabelKeys: what a reader yields, and names to take instead
    label_keys.py        which key of a file is an energy, forces, a stress or a virial
    labels_of_frame.py   energy, forces and stress of a frame in eV, eV/A and eV/A^3
    xyz_blocks.py        an extended XYZ file cut into its frames, also where some are broken
    xyz_comment.py       the key=value pairs of a frame
    extxyz.py            one frame of extended XYZ
    xyz_writer.py        the same back to text, every number exactly
    ase_files.py         what ASE's readers read
    cif.py               CIF files, which can be read in several ways
    lammps.py            files of LAMMPS, which may name no elements
    codes/               outputs of VASP, Quantum ESPRESSO, FHI-aims, GPAW and CP2K
    deepmd.py            systems of DeePMD-kit, read
    deepmd_writer.py     and written
    reading.py           read_frames(): any file, one frame after the other
    writing.py           write_frames(): any format that models are trained from

To read labelled structures::

    from entrove.formats import LabelKeys, read_frames

    for frame in read_frames("train.xyz", LabelKeys(energy="REF_energy")):
        if frame.problem:
            print(frame.where, frame.problem)
        else:
            energy_eV = frame.atoms.get_potential_energy()
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
