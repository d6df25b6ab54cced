"""Drivers of the bench: simulated devices, and rack nodes that run real or modelled work."""
