"""Photos: catalogue, decoding, the check of every image."""
