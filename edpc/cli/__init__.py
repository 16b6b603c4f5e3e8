"""The command line: arguments in, emitters' bytes out, errors as one sentence.

stdout is data, stderr is messages. Modules here import click only; what a command needs is imported when it runs.
"""
