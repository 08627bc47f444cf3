"""Objects are tried one at a time, and only those that lose workers again and again are culprits."""

from pipelines.suspects import MAX_LOSSES_ALONE, Suspects


def test_each_object_is_tried_until_it_is_cleared_or_found():
    suspects, tried = Suspects(["a", "b", "c"], losses=3), []
    while uid := suspects.next:
        tried.append(uid)
        if uid == "b":
            suspects.lose(uid, f"death {tried.count(uid)}")
        else:
            suspects.clear(uid)
    assert tried == ["a", *["b"] * MAX_LOSSES_ALONE, "c"]
    assert set(suspects.culprits) == {"b"}
    assert suspects.culprits["b"].losses == 3 + MAX_LOSSES_ALONE
    assert suspects.culprits["b"].cause == f"death {MAX_LOSSES_ALONE}"


def test_one_loss_may_be_chance():
    suspects = Suspects(["a"], losses=3)
    suspects.lose("a", "its node left")
    assert suspects.next == "a"
    suspects.clear("a")
    assert (suspects.next, suspects.culprits) == (None, {})
