"""Official files, the rendered demo, the feature store, and what training may see."""
