"""``remote.rack_node``: a rack node on another board of the same rack.

The flight software's board has the driver; the other board runs ``python -m hil.devices.remote_node``, which holds a
rack node of its own (``board.rack_node``) and does as it is told. They talk ZeroMQ over tcp with CURVE, and the node
lets in only whose key it was given. Programs and inputs go over when work begins, checkpoints come back while it runs
and outputs when it has ended, so that a job goes on elsewhere when its board is lost.
"""
