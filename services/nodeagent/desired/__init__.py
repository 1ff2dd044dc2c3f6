"""View → what the node should hold.

Pure, and independent of the path: the same view gives an equal ruleset, whatever was enforced before. `node.desired` is the
whole; `instances` refuses what must not be enforced, `antispoof` makes the bridge table, `judgement` the ip table's base
chains, `groups` and `boxes` the security groups' own.
"""
