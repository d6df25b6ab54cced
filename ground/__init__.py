"""Everything that runs on the ground."""
