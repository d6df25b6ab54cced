"""Real boards in the loop: bench files, what is on a board, and runs in which boards fly."""
