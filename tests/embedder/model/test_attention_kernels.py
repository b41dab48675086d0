"""Tests for attention_kernels.py: what torch may choose, and for how long."""

import torch

from embedder.model.attention_kernels import unplanned_attention


def test_cudnn_is_left_out_on_a_gpu_and_only_within():
    before = torch.backends.cuda.cudnn_sdp_enabled()
    with unplanned_attention(torch.device("cuda")):
        assert not torch.backends.cuda.cudnn_sdp_enabled()
        assert torch.backends.cuda.flash_sdp_enabled()
        assert torch.backends.cuda.math_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled() == before
    with unplanned_attention(torch.device("cpu")):
        assert torch.backends.cuda.cudnn_sdp_enabled() == before
