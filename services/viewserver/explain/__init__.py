"""What the network means for one packet: from here to there, may it pass, by which rule, seen as whom, and where is that so.

    question    who sends what to whom, resolved in a network
    judging     security groups: the rule that lets a message pass, or how near each came
    leaving     what the source's node makes of it: its port, egress rules, translation
    arriving    what the destination's node makes of it: the elastic IP, its host, ingress rules
    verdict     the two, one behind the other
    enforced    what each node makes of it now, by the version that it has applied
    since       the revision from which on it has been so

Pure, and a second implementation of what a node's ruleset does, from the cloud's objects instead of a view: property tests hold
it to an independent oracle and to real packets. `services/viewserver/api/explain.py` asks it.
"""
