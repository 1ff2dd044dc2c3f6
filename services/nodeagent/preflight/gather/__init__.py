"""Facts by looking and by trying. I/O, each file one part of `facts.Facts`; decides nothing and changes nothing.

All of it blocks, and speaks to the network namespace of the thread that calls it.
"""
