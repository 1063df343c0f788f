"""Datasets of rattled argon, and the fingerprints that they are made with."""

from cheap_models import argon

from entrove.entropy.dataset import EntropyDataset
from entrove.fingerprints.config import FingerprintConfig
from entrove.fingerprints.gom import GaussianOverlap

FEATURES = GaussianOverlap(FingerprintConfig(cutoff_A=5.0, length=24))


def dataset_of(entropy, mode):
    members = [argon(5.2, rattle_A=0.25, skew=0.03, seed=seed) for seed in range(20, 26)]
    dataset = EntropyDataset(entropy, mode, features=FEATURES)
    dataset.calibrate(members)
    dataset.add(members)
    return dataset
