"""A potential for LAMMPS: the file of its pair style, an input that runs it, and its check.

Read in this order:

    interface.py   `LammpsExporter`: what the export needs to know of a framework
    sevennet.py    SevenNet: TorchScript for the pair style e3gnn
    nequip.py      NequIP and Allegro: compiled files for the pair styles nequip and allegro
    cells.py       structures as LAMMPS holds them, and its results back in ASE's orientation
    run.py         run LAMMPS on structures
    input_file.py  the text of the input
    readme.py      the text of the README
    folder.py      `write_for_lammps`: all of it in a folder
    plugin/        source and build script of the pair style e3gnn as a plugin of LAMMPS
"""
