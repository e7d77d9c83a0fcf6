"""The store as the web server shows it: every position kept up with the daemon's commits, in a process of its own.

book      one protocol: exact positions, and all their healths at once as floats for display
live      all protocols at one block, followed commit by commit
board     what a block makes of it: every position in order, for lists
rows      the JSON objects of positions and records
ladder    what falling prices would open
system    how the daemon fares: its pulse, in the store's terms
news      what changed since, for those who listen
history   healths as they were, in a small file of its own
figures   numbers for Prometheus
desk      all of it behind one object, which the web server asks

It reads, never writes the store, and never asks the daemon or the node.
"""
