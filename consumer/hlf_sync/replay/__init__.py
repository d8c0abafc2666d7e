"""The replay of dead letters: plan, apply, show, watch, close. Never calls Dynamics: what is due is
asked for as a sync request, the one door.
"""
