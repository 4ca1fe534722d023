"""The pages in themed admins: each theme has its settings here, `make themes` runs its tests."""
