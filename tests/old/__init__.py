"""The seven migrations that 0001_squashed_0007_leases replaced; only their imports are kept up to date."""
