"""The process that stands between a rack node and one job: a subreaper that holds the job's limits and tells its end.

A node's driver writes an order into a run directory and starts ``flight.compute.shim.supervise`` there. Shim and job
live on when the driver's process is restarted; the driver finds them again by the shim's process id *and* start time.
Everything here uses the standard library only and imports nothing else of the project, so that a shim is small.
"""
