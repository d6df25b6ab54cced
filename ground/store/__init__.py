"""What the ground keeps: jobs with all that happened to them, files, telecommands, events, telemetry.

Every function here takes the connection of a transaction that somebody else commits, so that what came in, what it
changed and what must go out stand or fall together.
"""
