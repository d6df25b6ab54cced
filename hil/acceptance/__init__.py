"""The procedure by which a board is accepted or rejected, and its signed report."""
