"""Migrations of the ground's database: the scripts in `versions`, run by `ground.store.migration`."""
