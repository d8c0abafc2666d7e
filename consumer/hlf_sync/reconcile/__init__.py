"""`hlf-sync reconcile`: does what was delivered agree with what should be (requirement R63)? Finds,
tells, and on demand asks for what differs.

Never writes to Dynamics: a repair is doubt in the ledger and a sync request, and comes back through
the one door.
"""
