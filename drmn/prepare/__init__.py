"""From a dataset's files to a feature store: the one door through which data come in."""
