"""One run through Ray Train."""
