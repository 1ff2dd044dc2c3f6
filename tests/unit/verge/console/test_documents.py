"""What an operator hands over: JSON or YAML, with JSON's types, and mistakes named with their line."""

import json

import pytest

from verge.console.documents import parse, parse_json, require_xml, to_json
from verge.console.outcome import Misused


def parsed(text):
    return parse(text.encode(), "f")


def refused(data, read=parse):
    with pytest.raises(Misused) as raised:
        read(data if isinstance(data, bytes) else data.encode(), "f")
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["d0:0d:00:00:00:10", "12:34:56:12:34:56", "12:34", "000123456712", "0x1f", "0o17", "1_000", "no", "on", "Yes",
     "10.1.1.254", "10.111.101.91-10.111.101.93", "2026-07-02", "2026-07-02T10:00:00Z", ".inf", ".nan", "i-1a2b3c4d", "=", "<<x"],
)  # fmt: skip
def test_yaml_words_stay_words(text):
    assert parsed(f"value: {text}") == ("yaml", {"value": text})


@pytest.mark.parametrize("value", [True, False, None, 0, -7, 42, 1.5, [], {}, "text", [1, {"a": None}]])
def test_json_is_json_in_either_language(value):
    assert parsed(json.dumps({"value": value})) == ("json", {"value": value})
    assert parsed(f"# a comment\nvalue: {json.dumps(value)}\n") == ("yaml", {"value": value})


def test_a_yaml_flow_mapping_is_yaml():
    assert parsed("{operations: [{op: delete, kind: instance, id: i-1}]}") == (
        "yaml",
        {"operations": [{"op": "delete", "kind": "instance", "id": "i-1"}]},
    )


def test_yaml_anchors_work():
    assert parsed("a: &a [1, 2]\nb: *a\n") == ("yaml", {"a": [1, 2], "b": [1, 2]})


def test_a_byte_order_mark_is_no_content():
    assert parse(b"\xef\xbb\xbf{}", "f") == ("json", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: is empty"),
        ("  \n", "f: is empty"),
        ('{"a": 1,\n "b" 2]', "f:2:6: is not JSON"),
        ("a: 1\nb: [1, 2\nc: 3\n", "f:3:2: is not YAML"),
        ('{"a": 1, "a": 2}', "f: the key 'a' stands twice in one object"),
        ("x:\n  a: 1\n  b: 2\n  a: 3\n", "f:4:3: the key 'a' stands twice in one object"),
        ("a: !!python/object:os.system {}", "f:1:4: is not YAML"),
        ("[" * 100_000, "f"),
    ],
)
def test_mistakes_are_named_with_their_place(text, message):
    assert refused(text).startswith(message)
    assert "\n" not in refused(text)


def test_other_encodings_are_refused():
    assert refused(b"a: \xff\xfe") == "f: is not UTF-8 text (byte 3)"


def test_standard_input_is_called_so():
    with pytest.raises(Misused, match=r"standard input: is empty"):
        parse(b"", "-")


@pytest.mark.parametrize(
    "text", ["a: !!binary aGk=", "a: !!set {b}", "a: &a [*a]", "a: !!float .nan", "a: !!timestamp 2026-07-02"]
)
def test_what_json_has_not_is_refused(text):
    _, value = parsed(text)
    with pytest.raises(Misused, match="f: holds what JSON cannot"):
        to_json(value, "f")


def test_a_model_is_json_only():
    assert parse_json(b'{"zones": {}}', "f") == {"zones": {}}
    assert refused("zones: {}", parse_json).startswith("f:1:1: is not JSON")
    assert "twice" in refused('{"a": 1, "a": 2}', parse_json)


def test_xml_begins_like_xml():
    for good in (b"<?xml version='1.0'?><network-data/>", b"\xef\xbb\xbf\n <network-data/>"):
        require_xml(good, "f")
    for bad in (b"", b"{}", b"network: 1"):
        with pytest.raises(Misused, match="is not XML"):
            require_xml(bad, "f")


def test_aliases_that_repeat_without_end_are_refused():
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Misused, match="aliases repeat"):
        parse("\n".join(lines).encode(), "bomb.yaml")
