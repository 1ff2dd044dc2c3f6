"""What settings of the host were before the agent changed them, on disk: for `verge-nodeagent flush`, maybe years later.

    DIR/former.json   {"boot": …, "settings": [[kind, name, was, set], …]}

Written before the setting is: who dies between has noted a change that did not happen, and setting back finds another value
than noted, and leaves it. All of it lives until the kernel ends, so what another boot noted counts as absent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from nodeagent.state.former import Former, Formers, Setting, noted

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SYSCTLS: Final = Path("/proc/sys")


@dataclass(slots=True)
class FormerSettings:
    directory: Path
    _known: Formers | None = None

    @property
    def path(self) -> Path:
        return self.directory / "former.json"

    def read(self) -> Formers:
        """Of this boot. What cannot be read counts as absent: then nothing is set back."""
        try:
            found = orjson.loads(self.path.read_bytes())
            if found["boot"] != _boot():
                return {}
            return {Setting(kind, str(name)): Former(str(was), str(now)) for kind, name, was, now in found["settings"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def note(self, changed: Iterable[tuple[Setting, Former]]) -> None:
        """Raises OSError."""
        known = self.read() if self._known is None else self._known
        wanted = noted(known, changed)
        if wanted == known:
            return
        wanted = {setting: former for setting, former in wanted.items() if _exists(setting)}
        rows = [[*setting, former.was, former.set] for setting, former in wanted.items()]
        temporary = self.directory / ".former.tmp"
        temporary.write_bytes(orjson.dumps({"boot": _boot(), "settings": rows}))
        temporary.replace(self.path)
        self._known = wanted


def _boot() -> str:
    return _BOOT.read_text().strip()


def _exists(setting: Setting) -> bool:
    """Ports come and go, and what was noted of them with them."""
    name = setting.name if setting.kind == "sysctl" else f"net/ipv4/conf/{setting.name}"
    return (_SYSCTLS / name).exists()
