"""What attention did in one layer and head for an image: its clusters, and what one position attends to.

from models import AttentionConfig, load_detector
from models.explanation import explain
detector = load_detector()
explained = explain(detector, detector.preprocess(image), AttentionConfig.act(), layer=0, head=0, point=(120, 300))
explained.clusters                        # int64 [rows, columns], the cluster of every encoder token
explained.attention_map.exact             # float32 [rows, columns], sums to 1
explained.attention_map.approximate       # the same of the clustered attention, below 0 in places for tangent
"""

from models.explanation.explanation import AttentionMap, Explanation, explain, locate, refusal

__all__ = ["AttentionMap", "Explanation", "explain", "locate", "refusal"]
