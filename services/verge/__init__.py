"""What the two services and the operator's command line have in common.

Imports neither service. `contract` is pure; `console` speaks HTTP and the contract only.
"""
