"""The executive: which services run, in which mode the satellite is, and what is done when a value leaves its limits.

It starts the services through a launcher (processes, or tasks in the twin), pings them inside their loops, restarts
those that end or hang within a bound, then enters the safe mode and at last reboots the satellite. It persists the
mode, the overrides of limits and the state of fault rules, and strokes the watchdog only while all is well.
"""
