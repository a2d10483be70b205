"""Token gates, one small file a system; each keeps the protocol of lorauter/gates/protocol.

Knows: nothing beyond its members. Does not know: routes (lorauter/routers), engines.

| gate | a token's scores | weights | needs |
|---|---|---|---|
| arrow | abs ⟨x, p_a⟩, p_a the top right singular vector of ΔW_a | softmax over the top k | weights only |
| spectr | ‖S Vᵀ x‖₂ with ΔW_a = U S Vᵀ | softmax over the top k | weights only |
| lag | Arrow's keep the top k, SpectR's pick one of them | 1 | weights only |
| seqr | ‖R_a A x‖₂ with s_a B_a = Q R_a, calibrated | 1 for the best | one A for all adapters |
| meteora | G x, G trained, one row an adapter | softmax over the top 2 | training; a row may leave candidates out |
| ramole | ⟨A_r x, B_rᵀ s_a B_a A_a x⟩ / √r, A_r and B_r trained | softmax | training; a row brings its candidates |
| lora_flow | W h, h the block's input, W trained a task | softmax + b | training; a row brings task and candidates |
"""
