"""The node agent: makes one hypervisor's kernel match its view and says which version is in force.

It runs on every node, as root or with CAP_NET_ADMIN. `agent` is the loop; `session` (pure) speaks the protocol with the
view server through `viewclient`; `enforcement` leads to the kernel; `checkpoint` keeps the last view on disk; `api` is the
local REST interface. It imports `verge.contract` and never the view server.
"""

from typing import Final

VERSION: Final = "0.1.0"
"""As in pyproject.toml (a test says so): to ask the installed distribution costs 35 ms of every start."""
