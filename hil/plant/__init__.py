"""The physical world of the constellation: orbits, light, electricity, heat and links.

Vectorised over satellites. The plant knows nothing of flight code; it is reached through sensors and actuators.
"""
