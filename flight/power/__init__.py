"""Power: how full the battery is, how many watts compute may draw and when, and which switches must open.

The budget is an offer and looks ahead; protection trusts nobody, looks at the present only, and works when every other
service is dead.
"""
