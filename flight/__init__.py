"""Everything that runs on the satellite."""
