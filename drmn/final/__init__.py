"""After a search: what opens the test split, and the ledger that says so."""
