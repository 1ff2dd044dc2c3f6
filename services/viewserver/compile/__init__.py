"""From the network to the view of one node, and from a change to the nodes whose views it changes.

Pure. The cost of a change is proportional to what changed and whom it touches: `placement` finds the nodes through the
network's indices, `derived` keeps the digests that views share, `view` renders one.
"""
