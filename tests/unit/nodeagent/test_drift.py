"""Who did it is said although it was undone before the kernel's word of it was read."""

from nodeagent.drift import Notice, Suspects
from nodeagent.kernel.watch import Commit


class Watch:
    """Notifications that wait to be read."""

    def __init__(self, *commits):
        self.waiting = list(commits)

    def read(self):
        read, self.waiting = self.waiting, []
        return read


def commit(generation):
    return Commit(generation, 7, "nft", ("elements deleted from ip verge local4",))


async def test_what_a_pass_undid_is_named_by_the_word_that_came_during_it():
    suspects = Suspects(Watch(commit(41), commit(43)), lambda: None)
    repaired = Notice.now().joined(suspects.before(42, ())).repaired(1, ())
    assert (repaired.what, repaired.culprit) == ("elements deleted from ip verge local4", "nft (pid 7)")


async def test_our_own_transactions_are_nobody_elses():
    suspects = Suspects(Watch(commit(39), commit(40), commit(41)), lambda: None)
    assert [one.generation for one in suspects.before(42, (40, 41, 42)).commits] == [39]


async def test_it_still_stirs_so_that_nothing_goes_unseen():
    suspects = Suspects(Watch(commit(41), commit(43)), lambda: None)
    suspects.before(42, ())
    assert suspects.stirred.is_set()
    assert [one.generation for one in suspects.take().after(42).commits] == [43]


async def test_generations_wrap():
    assert Notice.now().joined(Notice.now()).before(1, ()).commits == ()
    suspects = Suspects(Watch(commit(0xFFFF_FFFF)), lambda: None)
    assert [one.generation for one in suspects.before(1, ()).commits] == [0xFFFF_FFFF]
