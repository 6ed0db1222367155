"""Parts that a run and a search share: lock, identity, code digest, data, task, checkpoints."""
