"""Attention maps of a trained network, as pictures; independent of Ray and MLflow."""
