r"""Names of chains and sets that stand for objects of the cloud: `in/sg-1a2b3c4d/ports`.

The slash separates: no id that stays as it is contains one. nft takes letters, digits and `/ \ _ . -` behind a first letter.
"""

import re
from hashlib import sha256

_PLAIN = re.compile(r"(?!x-)[A-Za-z0-9_.-]{1,40}")


def token(object_id: str) -> str:
    """The id itself where nft can spell it, else a hash that no such id can equal."""
    return object_id if _PLAIN.fullmatch(object_id) else "x-" + sha256(object_id.encode()).hexdigest()[:32]
