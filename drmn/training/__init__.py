"""Losses, optimizer, the stream of epochs, checkpoints."""
