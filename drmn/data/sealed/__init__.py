"""The test split: seal, open, ledger, hash chain."""
