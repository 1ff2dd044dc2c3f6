"""(observed, desired) → ordered steps.

Pure. `difference` compares tables and orders the changes of the one nft transaction, `withdrawn` finds whose sessions must
be judged again, `assignment` gives out policy generations, `variants` spares large sets from deletions, `plan` puts it
together; `host` is what is set outside nftables. The plan is the true difference: what is as it should be is not touched,
and a plan between equal states is empty.
"""
