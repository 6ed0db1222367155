"""What a run and a search share: lock, identity, code digest, data, trial task, checkpoints."""
