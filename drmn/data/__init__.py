"""Official files, the rendered demo, the feature store, and the splits for training."""
