"""The search: a record of trials, a policy that chooses them, Ray that runs them."""
