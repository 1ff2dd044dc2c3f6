"""The demo: a small cloud on this machine's kernel, and a story told with real packets.

`python -m demo` makes a private lab, starts a view server with its own Postgres, three hypervisors with a node agent each
(real processes in their namespaces) and six VMs, and then shows the job. Speaks to the services as anybody does: by their
command lines and HTTP; imports none of their code.

    __main__   outside the lab: checks what the machine lacks, opens the port that a browser can reach, enters the lab
    inside     in the lab: builds it, runs the story, stays up until Ctrl-C
    cloud      the processes, and the cloud controller's side of the HTTP API
    setting    the topology, and the addresses in it
    network    what the cloud controller says its network is
    stage      what every step uses: flows by name, and how outcomes are told
    rules, addresses, failures   the steps: what is done, what is expected, what the packets said
    story      their order
    document   `--gni FILE`: the same, with the cloud of a Eucalyptus document
    invite     what to look at afterwards
    screen     how it is told
"""
