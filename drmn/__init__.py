"""Hyperparameter search for the Dual Relation Mining Network, on Ray, with a sealed protocol."""
