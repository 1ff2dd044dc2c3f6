"""Members are sets of addresses, and a digest says which."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verge.contract.digest import canonical, fold, leaf, raw_leaf
from verge.contract.etag import At, ETag
from verge.contract.members import Members, format_address, parse_address

# Few blocks and all of their edges, so that sets meet in a block, or just miss each other.
ADDRESSES = st.builds(
    lambda prefix, low: prefix << 8 | low,
    st.sampled_from([0, 1, 0x0A0000, 0x0A0001, 0xFFFFFF]),
    st.sampled_from([0, 1, 2, 127, 254, 255]),
)
SETS = st.sets(ADDRESSES | st.integers(0, 2**32 - 1), max_size=30)


@given(SETS)
def test_a_set_is_what_was_put_in(addresses):
    members = Members.of(addresses)
    assert list(members) == sorted(addresses)
    assert len(members) == len(addresses)
    assert all(one in members for one in addresses)
    assert [parse_address(text) for text in members.texts()] == sorted(addresses)
    assert orjson.loads(members.json) == members.texts()
    assert members.json == canonical(members.texts())
    assert Members.parse(members.texts()) == members


@given(SETS, SETS, SETS)
def test_adding_and_removing_is_that_of_sets(addresses, add, remove):
    members = Members.of(addresses)
    changed = members.changed(add=add, remove=remove)
    assert set(changed) == (addresses - remove) | add
    assert set(members) == addresses, "a set was changed in place"
    assert changed == Members.of((addresses - remove) | add)


@given(SETS, SETS)
def test_equal_sets_and_no_others_have_equal_digests(one, other):
    assert (Members.of(one).digest == Members.of(other).digest) == (one == other)
    assert (Members.of(one) == Members.of(other)) == (one == other)
    if one == other:
        assert hash(Members.of(one)) == hash(Members.of(other))


@given(SETS, st.lists(st.tuples(SETS, SETS), max_size=4))
def test_the_way_to_a_set_leaves_no_trace(addresses, steps):
    members = Members.of(addresses)
    for add, remove in steps:
        members = members.changed(add=add, remove=remove)
        addresses = (addresses - remove) | add
    assert members.digest == Members.of(addresses).digest
    assert members.json == Members.of(addresses).json


@given(SETS, SETS)
def test_a_difference_leads_from_one_to_the_other(older, newer):
    before, after = Members.of(older), Members.of(newer)
    added, removed = after.difference(before)
    assert added == sorted(newer - older)
    assert removed == sorted(older - newer)
    assert before.changed(add=added, remove=removed) == after


@given(st.integers(0, 2**32 - 1))
def test_an_address_has_one_text(address):
    assert parse_address(format_address(address)) == address


@given(st.text(alphabet="0123456789.- ٣²", max_size=16) | st.text(max_size=12))
def test_only_that_text_is_an_address(text):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert format_address(address) == text


NAMES = st.text(alphabet="ab\x00\x01", max_size=3)
DIGESTS = st.sampled_from([leaf(None), leaf({}), leaf([]), leaf(""), raw_leaf(b""), fold([])])
FOLDS = st.dictionaries(NAMES, DIGESTS, max_size=4)


@given(FOLDS, FOLDS, st.randoms())
def test_a_fold_tells_any_two_sets_of_named_digests_apart(one, other, order):
    assert (fold(one.items()) == fold(other.items())) == (one == other)
    shuffled = list(one.items())
    order.shuffle(shuffled)
    assert fold(shuffled) == fold(one.items())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, VALUES)
def test_a_leaf_tells_any_two_values_apart(one, other):
    same = canonical(one) == canonical(other)
    assert (leaf(one) == leaf(other)) == same
    assert same == (repr_of(one) == repr_of(other))


def repr_of(value):
    """Tells true from 1, and looks at no order of keys."""
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, repr_of(one)) for key, one in value.items())))
    if isinstance(value, list):
        return ("list", tuple(repr_of(one) for one in value))
    return (type(value).__name__, value)


@given(VALUES, NAMES)
def test_no_leaf_passes_for_a_fold(value, name):
    assert leaf(value) != fold([(name, leaf(value))])
    assert raw_leaf(canonical(value)) == leaf(value)


ETAGS = st.builds(
    ETag,
    st.integers(0, 10**9 - 1),
    st.integers(0, 10**18 - 1),
    st.binary(min_size=16, max_size=16).map(bytes.hex),
)


@given(ETAGS)
def test_an_etag_has_one_text_and_its_weak_form(etag):
    assert ETag.parse(str(etag)) == etag
    assert ETag.parse(f" W/{etag} ") == etag


@given(st.lists(ETAGS, max_size=4), st.sampled_from([", ", ",", " ,\t"]), st.booleans())
def test_every_etag_of_a_list_is_found_among_others(etags, comma, weak):
    texts = [f'"{"x" * 3}"', *((f"W/{etag}" if weak else str(etag)) for etag in etags), '"0-0"']
    assert ETag.list_of(comma.join(texts)) == etags
    assert ETag.list_of("*") == []


@given(ETAGS, st.integers(0, 60), st.characters())
def test_no_other_text_is_an_etag(etag, place, letter):
    text = str(etag)
    spoiled = text[:place] + letter + text[place + 1 :]
    try:
        found = ETag.parse(spoiled)
    except ValueError:
        return
    assert str(found) == spoiled.strip() or str(found) == spoiled.strip().removeprefix("W/") or found == etag


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1))
def test_a_point_in_history_has_one_text(epoch, revision):
    assert At.parse(str(At(epoch, revision))) == At(epoch, revision)


@pytest.mark.parametrize(
    "text", ["", ".", "1", "1.", ".1", "1.2.3", "-1.2", "1.2x", "1e3.4", "٣.١", "1.1111111111111111111"]
)
def test_no_other_text_is_a_point_in_history(text):
    with pytest.raises(ValueError):
        At.parse(text)
