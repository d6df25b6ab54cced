"""The gateway: the satellite's end of the backhaul.

What comes up is verified, recorded once and dispatched to the services it is for; what goes down is stored, ordered
by priority, and sent until the ground has acknowledged it. The optical link goes first, the low-rate antenna when
that is dead, so that a satellite with a dead laser stays commandable.
"""
