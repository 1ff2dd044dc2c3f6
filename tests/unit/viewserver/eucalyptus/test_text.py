"""Text that is no document, or means harm, is refused with a reason; nothing is unfolded, fetched or overwritten."""

# ruff: noqa: E501 - one line for each case

import pytest

from viewserver.errors import Malformed
from viewserver.eucalyptus.text import MOST_NODES, read_json, read_yaml
from viewserver.eucalyptus.xml_text import read_xml


def fault_of(read, text):
    with pytest.raises(Malformed) as found:
        read(text if isinstance(text, bytes) else text.encode())
    ((pointer, message),) = [(fault.pointer, fault.message) for fault in found.value.faults]
    assert pointer == ()
    return message


LAUGHS = "\n".join(["a0: &a0 [lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))])
MERGES = "\n".join(["- &a0 {k: v}", *(f"- &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10))])

NO_YAML = {
    "nonsense": ("{", "is not YAML"),
    "two documents": ("a: b\n---\nc: d", "is not YAML"),
    "no UTF-8": (b"a: \xff", "is not UTF-8"),
    "a NUL": ("a: \x00", "is not YAML"),
    "an object of Python": ("!!python/object/apply:os.system ['true']", "is not YAML"),
    "a number by tag": ("a: !!int 7", "is not YAML"),
    "an unfolding": (LAUGHS, f"has more than {MOST_NODES} values"),
    "an unfolding of merges": (MERGES, f"has more than {MOST_NODES} values"),
    "one within itself": ("&a [*a]", "contains itself"),
    "a merge within itself": ("&a {<<: *a}", "contains itself"),
    "a key that is a list": ("? [a]\n: b", "is not YAML"),
    "too deep": ("[" * 20_000 + "]" * 20_000, "is nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), NO_YAML.values(), ids=NO_YAML.keys())
def test_what_is_no_yaml(text, message):
    assert message in fault_of(read_yaml, text)


@pytest.mark.parametrize("text", ["a: 10:20", "a: '10:20'", 'a: "10:20"'])
def test_plain_scalars_are_text(text):
    assert read_yaml(text.encode()) == ({"a": "10:20"}, [])
    assert read_yaml(b"a: [1, true, 2001-01-01, 0x7, null, ~]") == (
        {"a": ["1", "true", "2001-01-01", "0x7", None, None]},
        [],
    )


def test_aliases_and_merges_are_taken():
    text = b"base: &base {a: '1', b: '2'}\nother: {<<: *base, b: '3'}\nlist: [*base]"
    base = {"a": "1", "b": "2"}
    assert read_yaml(text) == ({"base": base, "other": {"a": "1", "b": "3"}, "list": [base]}, [])


@pytest.mark.parametrize(
    ("read", "text"),
    [(read_yaml, "a: 1\nb: [{c: 1, c: 2}]\na: 2"), (read_json, '{"a": 1, "b": [{"c": 1, "c": 2}], "a": 2}')],
)
def test_keys_that_stand_twice_are_told(read, text):
    _, faults = read(text.encode())
    assert [fault.pointer for fault in faults] == [("a",), ("b", 0, "c")]


@pytest.mark.parametrize(("read", "text"), [(read_yaml, r'{"a\ud800": "x", "b": "\0"}'), (read_json, r'{"a\ud800": "x", "b": "\u0000"}')])  # fmt: skip
def test_characters_that_nothing_can_store_are_told(read, text):
    _, faults = read(text.encode())
    assert [fault.pointer for fault in faults] == [(), ("b",)]


def test_json_that_is_nested_too_deeply():
    assert fault_of(read_json, "[" * 200_000 + "]" * 200_000) == "is nested too deeply"


ENTITY = '<?xml version="1.0"?><!DOCTYPE network-data [<!ENTITY a SYSTEM "file:///etc/hostname">]><network-data>&a;</network-data>'  # fmt: skip
NO_XML = {
    "nothing": ("", "is not well-formed"),
    "half a document": ("<network-data>", "is not well-formed"),
    "JSON": ("{}", "is not well-formed"),
    "a file of this machine": (ENTITY, "must not have a document type"),
    "an unfolding": ('<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>', "must not have a document type"),
    "a document type elsewhere": ('<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd"><a/>', "must not have a document type"),
    "an entity that is nowhere": ("<a>&b;</a>", "is not well-formed"),
    "another encoding": (ENTITY.encode("utf-16"), "is not UTF-8"),
    "another encoding in UTF-8": ('<?xml version="1.0" encoding="utf-16"?><a/>', None),
    "a NUL": ("<a>\x00</a>", "is not well-formed"),
    "a surrogate": ("<a>&#xD800;</a>", "is not well-formed"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), NO_XML.values(), ids=NO_XML.keys())
def test_what_is_no_xml(text, message):
    if message is None:
        assert read_xml(text.encode()).tag == "a", "what it says of its encoding is not believed"
    else:
        assert message in fault_of(read_xml, text)


def test_xml_that_is_nested_deeply_is_read():
    depth = 100_000
    root = read_xml(("<a>" * depth + "</a>" * depth).encode())
    assert root.tag == "a"
