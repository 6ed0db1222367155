"""What training may see: folds on stored features or on photos."""
