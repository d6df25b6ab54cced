"""The bench: the physical world, the link gate, device drivers, faults, the twin and bring-up."""
