"""A model plus the entropy bias, E = E_base - kappa S.

Read in this order:

    entropy_gradient.py  S of each system of a batch, dS/dr and dS/dstrain
    entropy_bias.py      `EntropyBias`: the biased model for batches
    calculator.py        `EntropyCalculator`: the same for any ASE calculator
    ordering.py          the bias of the ordered pool: equal surroundings for atoms of one species

Which entropy of which features a system is biased by is an `entrove.entropy.Bias`.
"""
