"""The search: samplers, pruners, executors and the record of a study."""
