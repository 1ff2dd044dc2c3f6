"""`verge completion bash | zsh | fish`: a script by which the shell asks this command what may follow.

What may follow is found in what argparse knows, and names are asked of the server: nodes, instances, groups, revisions. A
server that is away, slow or unwilling is no reason to disturb somebody who types: then there are no names.
"""

import argparse
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from verge.console.arguments import Commands
from verge.console.console import Console
from verge.console.outcome import ConsoleError, Exit

PATIENCE_S: Final = 2.0
MOST: Final = 200
SHELLS: Final = {
    "bash": """\
# Completion of the verge command for bash:  source <(verge completion bash)
_verge() {
    local IFS=$'\\n'
    COMPREPLY=($(verge complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _verge verge
""",
    "zsh": """\
#compdef verge
# Completion of the verge command for zsh:  source <(verge completion zsh)
_verge() {
    local -a found
    found=(${(f)"$(verge complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _verge verge
""",
    "fish": """\
# Completion of the verge command for fish:  verge completion fish | source
function __verge_complete
    set -l words (commandline -opc)
    verge complete -- $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c verge -a '(__verge_complete)'
""",
}

Names = Callable[[str, str], list[str]]
"""What, and how it begins → the names there are."""


def register(commands: Commands, whole: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a completion script:  source <(verge completion bash)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("shell", choices=sorted(SHELLS))
    command.set_defaults(run=lambda given, _: _print(given))
    asked = commands.add_parser("complete", description="What may follow these words; the last one is being typed.")
    asked.add_argument("words", nargs="*")
    asked.set_defaults(run=lambda given, console: _complete(whole, given, console))


def _print(given: Namespace) -> Exit:
    print(SHELLS[given.shell], end="")
    return Exit.OK


def _complete(whole: argparse.ArgumentParser, given: Namespace, console: Console) -> Exit:
    def names(what: str, prefix: str) -> list[str]:
        try:
            return list(_asked(console, what, prefix))
        except (ConsoleError, KeyError, TypeError):
            return []

    for found in candidates(whole, given.words or [""], names):
        print(found)
    return Exit.OK


def _asked(console: Console, what: str, prefix: str) -> Iterator[str]:
    """Raises ConsoleError."""
    match what:
        case "revisions":
            page = console.server.get("/v1/updates", answer_s=PATIENCE_S, limit=20)
            yield from (str(one["revision"]) for one in page["updates"] if str(one["revision"]).startswith(prefix))
        case "fences":
            found = console.server.get("/v1/fences", answer_s=PATIENCE_S)["fences"]
            yield from (one["address"] for one in found if one["address"].startswith(prefix))
        case "objects":
            kind, slash, begin = prefix.partition("/")
            kinds = ("elastic_ip", "group", "instance", "node", "zone")
            if not slash:
                yield from (f"{one}/" for one in kinds if one.startswith(kind))
            elif kind in kinds:
                yield from (f"{kind}/{one}" for one in _asked(console, f"{kind}s", begin))
        case _:
            found = console.server.get(f"/v1/names/{what}", answer_s=PATIENCE_S, prefix=prefix, limit=MOST)
            yield from found["names"]


def candidates(whole: argparse.ArgumentParser, words: Sequence[str], names: Names) -> list[str]:
    """What the last of these words may become; nothing where the shell's own, files, is as good."""
    *before, current = words
    parser, taken, valued = whole, 0, None
    for word in before:
        if valued is not None:
            valued = None
        elif word.startswith("-") and word != "-":
            option = _option(parser, word)
            valued = option if option is not None and "=" not in word and option.nargs is None else None
        elif (below := _below(parser)) and word in below:
            parser, taken = below[word], 0
        else:
            taken += 1
    if valued is not None:
        return _values(valued, current, names)
    if current.startswith("--") and "=" in current:
        name, _, value = current.partition("=")
        option = _option(parser, name)
        return [f"{name}={one}" for one in _values(option, value, names)] if option is not None else []
    if current.startswith("-"):
        options = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
        return sorted(name for name in options if name.startswith(current))
    below = _below(parser)
    if below is not None:
        return sorted(name for name in below if name.startswith(current) and name != "complete")
    positionals = [action for action in parser._actions if not action.option_strings]
    return _values(positionals[taken], current, names) if taken < len(positionals) else []


def _values(action: argparse.Action, begin: str, names: Names) -> list[str]:
    if action.choices is not None:
        return [str(one) for one in action.choices if str(one).startswith(begin)]
    what = getattr(action, "completes", None)
    return names(what, begin) if what is not None else []


def _option(parser: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    name = word.partition("=")[0]
    return next((action for action in parser._actions if name in action.option_strings), None)


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return None
