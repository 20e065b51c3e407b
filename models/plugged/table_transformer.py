"""transformers' Table Transformer attention that clusters: the class of plugged modules."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.models.table_transformer.modeling_table_transformer import TableTransformerAttention

from models.plugged.clustered import is_clustered
from models.plugged.projected import attend_projected


class PluggedTableTransformerAttention(TableTransformerAttention):
    """Self-attention by the settings that were plugged in; cross-attention as before."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        object_queries: Tensor | None = None,
        key_value_states: Tensor | None = None,
        spatial_position_embeddings: Tensor | None = None,
        output_attentions: bool = False,
    ) -> Any:  # the parent's annotation has one value too many
        """Attend as `attend_projected` says."""
        if key_value_states is None and is_clustered(self):
            return attend_projected(
                self, hidden_states, object_queries, attention_mask, self.dropout, output_attentions
            )
        return super().forward(
            hidden_states,
            attention_mask,
            object_queries,
            key_value_states,
            spatial_position_embeddings,
            output_attentions,
        )
