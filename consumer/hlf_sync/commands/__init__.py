"""The command line: one module per group of commands, thin. What a command does is done in the
rooms it names.
"""
