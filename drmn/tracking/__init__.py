"""MLflow, fed through a durable queue: never in the way of a search."""
