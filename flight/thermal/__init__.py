"""Thermal: how warm everything is, how the heat gets out, and how much of it compute may make.

Control moves the pump and the heaters; the budget tells compute what the radiator can take; protection names a node
that is too hot until its switch is seen open, and works without navigation, compute or a plan.
"""
