"""
The documentation: every block of code is executed, every link leads somewhere, the site builds without a warning.

`pages` finds the blocks; `running` executes those of one page in a folder of its own, against a Hub on this machine;
`listed` has the commands that cannot run in a test, each with a check of its own. A block or a command that none of
them knows fails the test.
"""
