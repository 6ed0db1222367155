"""After a search: opening of the test split, and the ledger of openings."""
