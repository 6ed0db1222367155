"""MLflow, fed through a durable queue: a search never waits for it."""
