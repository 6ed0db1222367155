"""From a dataset's files to a feature store: the only way to add data."""
