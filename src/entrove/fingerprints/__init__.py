"""What an atom sees: Gaussian-overlap fingerprints, their pull-back, and the protocol of all features.

`front_door` (lists of Atoms in, arrays out) > `gom` (batches) > `neighbours`, `overlaps`, `spectrum`.
"""
