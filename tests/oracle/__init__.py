"""A second reading of the contract: given the cloud's objects as the cloud wrote them, may this packet pass?

Independent on purpose: it knows the JSON of the operations and the words of the contract, and imports nothing of the view
server or the agent. It is small enough to be checked by reading it beside the contract, and nothing in it is fast.
"""
