"""The command line: one file a command, which parses, calls an experiment and prints its report.

Importing it imports no torch: a command imports what it runs inside its body.
"""
