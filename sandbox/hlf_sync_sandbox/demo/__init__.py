"""The demo: the real stack, a thousand mentors, a scripted story, and a comparison of every mentor
at the end. `cli` is its door.
"""

from hlf_sync_sandbox.demo.cli import demo

__all__ = ["demo"]
