"""The feature store: key, layout, shards, build, integrity, inventory, local copy."""
