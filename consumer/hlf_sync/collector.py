"""When Python's collector of cycles runs. By its defaults it would walk all that is imported, which
stays, again and again: a sixth of a start, a quarter of the CPU of a full queue. Called by the entry
point and by the commands that run for long.
"""

import gc

_WHILE_IMPORTING = (500_000, 20, 50)
# Neither the pipeline nor the coordinators' board makes cycles.
_FOR_LONG = (50_000, 20, 50)


def rest() -> None:
    """Do not run before everything is imported: there is nothing to collect."""
    gc.set_threshold(*_WHILE_IMPORTING)


def settle() -> None:
    """All is imported: never look at it again, and collect what comes from now on."""
    gc.freeze()
    gc.set_threshold(*_FOR_LONG)
