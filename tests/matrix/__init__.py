"""`make matrix`: the demo's story over other versions of its parts than the sandbox has. The table in
docs/versions.md is what it printed.
"""
