import pytest

from models.data.samples import PageSamples
from models.detector import Detector
from models.evaluation.attention_inputs import attention_inputs
from models.tuning.bucket_width import bucket_widths, cluster_ratio, hashed_queries


@pytest.mark.parametrize("metric", ["query", "key"])
def test_bucket_widths_lead_to_the_wanted_ratios(tiny_detr, metric):
    detector = Detector(tiny_detr)
    (sample,) = PageSamples(1, 128, 96)
    layers = attention_inputs(detector, detector.encoder_tokens(detector.preprocess(sample.image)))
    wanted = (0.2, 0.4, 0.6)
    widths = bucket_widths(layers, 8, wanted, metric)
    assert widths == sorted(widths, reverse=True)
    hashed = [hashed_queries(layer, metric) for layer in layers]
    measured = [sum(cluster_ratio(x, 8, r, 0) for x in hashed) / len(hashed) for r in widths]
    assert measured == pytest.approx(wanted, abs=0.1)
