"""What happened, as rows that are appended, read for some time, and dropped: who was told what and enforced it when, how each
change spread, how far behind the cloud was, what befell nodes and fences.

Touches Postgres, and only Postgres. Nothing here decides anything: where a change is in force is counted in memory, from the
nodes' last reports (`store.reports`); these rows say how it came to be so.

    answered     a node was told a version                     detail: an hour's partitions
    enforced     a node told something new of what it enforces detail
    summaries    one row for each change, percentiles          a day's partitions, kept for a month
    samples      the cloud's lag, every few seconds            likewise
    happenings   drift, fences, rejections, silence            likewise
"""
