"""`hlf-sync top`: what the running workers say of themselves, as one picture of the fleet. Reads
their pages over HTTP, changes nothing.
"""
