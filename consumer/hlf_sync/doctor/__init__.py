"""`hlf-sync doctor`: asks every part whether it is as it must be, and says what to do where it is
not. Changes nothing, anywhere.
"""
