"""Runs jobs on the rack nodes inside the watts that power and heat allow.

It accepts what can be run and loses nothing that it accepted; it decides which job runs on which node under which
power cap; it has jobs checkpoint before the budget falls and lets them go on when it rises again; and it tells the
ground, in statuses that are kept until the gateway has them, what became of each.
"""
