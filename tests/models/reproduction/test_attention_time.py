from models.attention_config import AttentionConfig
from models.data.samples import PageSamples
from models.reproduction.attention_time import AttentionTime, attention_times, ratios_by_line
from models.reproduction.inputs import encoder_tokens


def test_times_are_of_the_same_queries_and_over_exact_attention(detector):
    (tokens,) = encoder_tokens(detector, PageSamples(1, 128, 96))
    exact, act = attention_times(detector, tokens, [AttentionConfig.act(4, 1.0)], 2)
    assert (exact["attention"], exact["ratio"]) == ("exact", 1)
    assert (act["attention"], act["tokens"]) == ("act:L=4,r=1", 88)
    assert act["ratio"] == act["milliseconds"]["median"] / exact["milliseconds"]["median"]


def test_lines_follow_a_ratio_of_clusters_from_size_to_size():
    rows = [
        {"attention": attention, "tokens": tokens, "ratio": ratio}
        for attention, tokens, ratio in [
            ("exact", 200, 1),
            ("act:L=16,r=4", 200, 0.1),
            ("act:L=16,r=2", 200, 0.2),
            ("tangent:C=16", 200, 0.3),
            ("act:L=16,r=6", 100, 0.4),
            ("act:L=16,r=3", 100, 0.5),
        ]
    ]
    assert ratios_by_line(rows) == {
        "ACT, L = 16: C/N = 0.1": [(100, 0.4), (200, 0.1)],
        "ACT, L = 16: C/N = 0.5": [(100, 0.5), (200, 0.2)],
        "tangent: C = 16": [(200, 0.3)],
    }


def test_attention_time_shows_every_setting(measured, texts):
    claim = AttentionTime()
    document = measured(claim)
    heading, table = claim.tables(document)
    assert heading.endswith("threads: 1, a processor")
    rows = document["results"]["rows"]
    assert len(table.splitlines()) == 2 + len(rows)
    assert f"| tangent:C=16 | {rows[5]['milliseconds']['median']:.1f} | {rows[5]['ratio']:.2f} |" in table
    assert texts(claim.figures(document)["attention-time"]) >= {"ACT, L = 16: C/N = 0.5", "tangent: C = 64"}
