"""The twin: plant, flight services of every satellite, backhaul and ground in one process and in virtual time.

The services are the ones that fly; only what stands outside them is modelled: devices, links, and the work of jobs.
The same seed gives the same run, to the last bit.
"""
