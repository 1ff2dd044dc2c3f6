"""`verge completion bash`: a completion script, made from what argparse knows, that never runs `verge` itself."""

import argparse
from collections.abc import Iterator

from verge.console.arguments import Commands
from verge.console.outcome import Exit

_SCRIPT = """\
# Completion of the verge command for bash:  source <(verge completion bash)
_verge() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} path= at= words=
    case $previous in
{choices}
        {valued}) return ;;
    esac
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${{COMP_WORDS[at]}} in
            {valued}) ((at++)) ;;
            -*) ;;
            *) case "$path ${{COMP_WORDS[at]}}" in {known}) path="$path ${{COMP_WORDS[at]}}" ;; esac ;;
        esac
    done
    case $path in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _verge verge
"""


def register(commands: Commands, whole: argparse.ArgumentParser) -> None:
    command = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description="Print a completion script:  source <(verge completion bash)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("shell", choices=["bash"])
    command.set_defaults(run=lambda _given, _console: _print(whole))


def _print(whole: argparse.ArgumentParser) -> Exit:
    print(bash(whole), end="")
    return Exit.OK


def bash(whole: argparse.ArgumentParser) -> str:
    parsers = dict(_parsers(whole, ""))
    actions = [action for parser in parsers.values() for action in parser._actions]
    takes = sorted({name for one in actions if one.nargs is None or one.nargs == 1 for name in one.option_strings})
    choices = {
        name: " ".join(map(str, one.choices))
        for one in actions
        if one.choices is not None
        for name in one.option_strings
    }
    return _SCRIPT.format(
        choices="\n".join(
            f'        {name}) COMPREPLY=($(compgen -W "{found}" -- "$word")); return ;;'
            for name, found in sorted(choices.items())
        ),
        valued="|".join(takes),
        known="|".join(f'"{path}"' for path in parsers if path),
        words="\n".join(f'        "{path}") words="{" ".join(_words(parser))}" ;;' for path, parser in parsers.items()),
    )


def _parsers(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each with the words that lead to it."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, found in action.choices.items():
                yield from _parsers(found, f"{path} {name}")


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """What may follow: commands and choices, then options."""
    words = [str(one) for action in parser._actions if not action.option_strings for one in action.choices or ()]
    return words + [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
