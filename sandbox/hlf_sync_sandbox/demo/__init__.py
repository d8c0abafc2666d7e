"""The demo: the real stack, a thousand mentors, a scripted story, and a comparison of every mentor
at the end. `cli` is its door.
"""
