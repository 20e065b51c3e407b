"""transformers' DAB-DETR encoder attention that clusters: the class of plugged modules."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.models.dab_detr.modeling_dab_detr import DetrAttention

from models.plugged.clustered import is_clustered
from models.plugged.projected import attend_projected


class PluggedDetrAttention(DetrAttention):
    """Self-attention by the settings that were plugged in."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        object_queries: Tensor | None = None,
        key_value_states: Tensor | None = None,
        output_attentions: bool = False,
    ) -> Any:  # the parent's annotation has one value too many
        """Attend as `attend_projected` says."""
        if key_value_states is None and is_clustered(self):
            dropout = self.attention_dropout
            return attend_projected(self, hidden_states, object_queries, attention_mask, dropout, output_attentions)
        return super().forward(hidden_states, attention_mask, object_queries, key_value_states, output_attentions)
