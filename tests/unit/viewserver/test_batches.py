from viewserver.batches import Batches


def test_what_others_wrote_is_missing_and_what_was_written_here_is_not():
    batches = Batches(4)
    assert not batches.missing(4)
    assert batches.missing(5)
    batches.writing([5])
    assert not batches.missing(5)
    assert batches.missing(6)
    batches.written()
    assert (batches.through, batches.own) == (5, frozenset())


def test_a_number_of_a_transaction_that_failed_may_be_anybodys():
    batches = Batches(0)
    batches.writing([1, 2])
    batches.failed()
    assert batches.missing(1)
    batches.written()
    assert batches.through == 0


def test_own_batches_above_one_that_was_not_read_are_remembered_until_it_is():
    batches = Batches(0)
    for number in (2, 4):
        batches.writing([number])
        batches.written()
    assert (batches.through, batches.own) == (0, {2, 4})
    assert batches.missing(2)
    batches.read(1)
    assert (batches.through, batches.own) == (2, {4})
    batches.read(3)
    assert (batches.through, batches.own) == (4, frozenset())
    batches.read(3)
    assert batches.through == 4
