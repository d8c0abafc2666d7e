"""What is seen of a worker and of the fleet: lag, the leader's look at ledger and source, the
verdict, the HTTP endpoint. Changes nothing.
"""
