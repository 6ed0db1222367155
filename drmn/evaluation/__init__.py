"""Accuracy, calibration, ensemble, validation and closed-form baselines."""
