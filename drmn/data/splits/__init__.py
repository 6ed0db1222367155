"""Splits for training: folds on stored features or on photos."""
