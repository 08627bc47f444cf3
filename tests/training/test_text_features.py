"""Captions are encoded once where the text tower is frozen."""

import torch

from training.backends.open_clip import Options, create
from training.student import Student
from training.text_features import TextFeatures

CAPTIONS = ["a chair", "a brown table", "a lamp", "a cup"]


def make(folder, **options):
    student = Student(create(Options(model=str(folder))), None)
    calls = []
    encode = student.encode_texts
    student.encode_texts = lambda ids: calls.append(len(ids)) or encode(ids)
    return student, TextFeatures(student, CAPTIONS, device=torch.device("cpu"), **options), calls


def test_known_ones_are_looked_up(small_open_clip):
    student, features, calls = make(small_open_clip, frozen=True)
    first, again = features(torch.tensor([2, 0, 2])), features(torch.tensor([0, 2]))
    assert calls == [64], "always as many at once"
    assert not first.requires_grad
    assert torch.equal(first[[1, 0]], again)
    direct = student.encode_texts(student.encoder.tokenize(["a lamp"]))
    assert torch.allclose(first[0], direct[0], atol=1e-6)


def test_they_do_not_depend_on_when_they_are_met(small_open_clip):
    one, two = (make(small_open_clip, frozen=True)[1] for _ in range(2))
    together = one(torch.tensor([0, 1, 2, 3]))
    apart = torch.cat([two(torch.tensor([number])) for number in (3, 2, 1, 0)]).flip(0)
    assert torch.equal(together, apart)


def test_there_is_room_for_some_only(small_open_clip):
    _, features, calls = make(small_open_clip, frozen=True)
    features._room = 2
    expected = features(torch.tensor([0, 1, 2, 3]))
    assert len(features._known) == 2
    assert torch.equal(features(torch.tensor([0, 1, 2, 3])), expected)
    assert len(calls) == 2


def test_a_tuned_tower_encodes_each_caption_of_a_batch_once_with_gradient(small_open_clip):
    _, features, calls = make(small_open_clip, frozen=False)
    found = features(torch.tensor([1, 3, 1, 1]))
    assert calls == [2]
    assert found.requires_grad
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
