"""What a user of Transformers has already: a configuration of a model, and data."""

import torch
from transformers import BertConfig

words = torch.randint(2, 40, (64, 8), generator=torch.Generator().manual_seed(0))
rows = [{"input_ids": w, "labels": (w[0] < 20).long()} for w in words]
config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
