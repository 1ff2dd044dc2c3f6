"""`python -m demo --gni FILE`: the cloud of a Eucalyptus document, imported, built on this machine's kernel, and driven.

    model     what `GET /v1/model` answers, as values
    choice    which of its nodes and VMs are built here
    site      the networks they live on: the lab's topology, guessed from the document's addresses
    reading   who may reach whom, read from the model: the expectations
    sample    flows worth trying, of every kind
    stage     what every step uses: the barrier, and flows tried with real packets beside what was expected
    changes   a rule is revoked, an elastic IP moves
    story     the order of it all

`model`, `choice`, `site`, `reading` and `sample` take values and return values.
"""
