"""The definitions in NumPy, one configuration at a time, by dense determinants; no shared code."""

import numpy as np


def rows_of_system(values, numbers, system_idx, *, system, species, mode):
    mine = (system_idx == system) & (numbers == species)
    rows = values[mine]
    if mode == "per_config" and len(rows):
        return rows.mean(axis=0, keepdims=True)
    return rows


def all_rows(values, numbers, system_idx, species, mode):
    systems = np.unique(system_idx)
    return np.concatenate(
        [
            rows_of_system(values, numbers, system_idx, system=system, species=species, mode=mode)
            for system in systems
        ]
    )


def covariance(rows, epsilon):
    """Sigma = (1/N) sum x x^T - mu mu^T + eps 1."""
    features = rows.shape[1]
    sigma = np.zeros((features, features))
    for row in rows:
        sigma += np.outer(row, row) / len(rows)
    mean = rows.mean(axis=0) if len(rows) else np.zeros(features)
    return sigma - np.outer(mean, mean) + epsilon * np.eye(features)


def log_det(matrix):
    sign, value = np.linalg.slogdet(matrix)
    assert sign > 0
    return value


def paper_entropy(rows, epsilon):
    return log_det(covariance(rows, epsilon))


def paper_gradient(dataset_rows, rows, epsilon):
    """dS/dx of every row of the added configuration: (2/N') Sigma'^-1 (x - mu')."""
    together = np.concatenate([dataset_rows, rows])
    centred = rows - together.mean(axis=0)
    return 2.0 / len(together) * np.linalg.solve(covariance(together, epsilon), centred.T).T


def whiten(rows, reference_rows, floor):
    deviation = reference_rows.std(axis=0)
    typical = np.sqrt(np.mean(deviation**2))
    return (rows - reference_rows.mean(axis=0)) / np.sqrt(deviation**2 + (floor * typical) ** 2)


def information_gain(dataset_rows, rows, ridge):
    """Gain of whitened rows, as the difference of two dense determinants."""
    before = ridge * np.eye(rows.shape[1]) + dataset_rows.T @ dataset_rows
    return 0.5 * (log_det(before + rows.T @ rows) - log_det(before))


def local_entropy(values, numbers, floor, power):
    """S_loc of one configuration with floored distances and the soft minimum."""
    total = 0.0
    for i in range(len(values)):
        same = [j for j in range(len(values)) if numbers[j] == numbers[i] and j != i]
        if not same:
            continue
        distances = [np.sqrt(np.sum((values[i] - values[j]) ** 2) + floor**2) for j in same]
        soft = sum(d**-power for d in distances) ** (-1.0 / power)
        total += np.log((len(same) + 1) * soft)
    return total / len(values)
