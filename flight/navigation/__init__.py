"""Navigation: where the satellite is, what the Sun does to it, and when it will see the ground.

Positions come from SGP4 with the elements of the constellation file; the GNSS receiver checks them. Once a minute the
next two orbits are looked ahead: eclipses, sunlight step by step, contacts with the ground stations.
"""
