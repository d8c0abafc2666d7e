"""The nightly work: once per local date, by the leader or by `hlf-sync nightly`. Its steps are the
table in `steps`; what is due, `core/nightly` decides.
"""
