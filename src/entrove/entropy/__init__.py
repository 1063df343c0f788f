"""How much a configuration adds: entropies of feature rows, their gradients, and the dataset's memory.

The files in the order of the method::

    rows         features of a batch -> rows per species (every atom, or the mean of a configuration)
    moments      count, sum and sum of outer products of rows: all that a dataset remembers
    whitening    frozen mean and scale per species, from an unbiased reference run
    logdet       ln det(1 + W W^T) of many configurations at once, with its gradient
    local        nearest-neighbour entropy of one configuration
    covariance   the paper's ln det of the normalised covariance
    information  the information gain, never negative and submodular
    functional   what the bias of a walker asks of any of these
    featurise    structures, streamed, -> batches of features
    storage      the file of a dataset
    dataset      EntropyDataset, the front door
"""
