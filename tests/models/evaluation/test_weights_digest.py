from models.evaluation.weights_digest import weights_digest


def test_digest_depends_on_the_weights_only(detector):
    before = weights_digest(detector)
    assert len(before) == 16
    assert weights_digest(detector.with_sizes(96)) == before
    detector.detr.class_embed.weight.data[0, 0] += 1
    assert weights_digest(detector) != before
