"""Collecting statistics of the inputs of a model's layers, by forward hooks.

`layers` finds the layers and says what a row of their input is, `experts` does so for fused experts, `padding` leaves
padded tokens out, `sums` adds rows up, `sharing` finds layers with the same input, `collector` puts these together for
any part of a model, and `collect` is the verb. `block_influence` and `expert_saliency` are of whole layers and experts.
"""
