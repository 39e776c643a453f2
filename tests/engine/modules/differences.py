"""Which tests hold each difference from torch that `docs/torch.md` lists, by the first cell of its row."""

from collections.abc import Mapping
from typing import Final

DIFFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "equal weights": ("test_methods.py::test_equal_magnitudes_are_pruned_in_flat_order",),
    "norms of channels": ("test_channel_norms.py",),
    "NaN in the weights": ("test_methods.py::test_nan_has_no_rank",),
    "an amount of NaN": ("test_methods.py::test_an_amount_out_of_range_is_refused_up_front",),
    "`amount=True`": ("test_methods.py::test_int_is_a_count_and_float_a_fraction_rounded_half_to_even",),
    "an error while pruning again": ("test_form.py::test_a_failed_pruning_leaves_the_module_as_it_was",),
    "a parameter that is None": ("test_form.py::test_only_a_parameter_can_be_pruned",),
    "pruning again after an optimizer step": (
        "test_form.py::test_pruning_again_after_a_step_ranks_the_weights_of_now",
    ),
    "`remove`, and `method.prune(t)`": ("test_form.py::test_remove_leaves_plus_zeros_and_a_plain_parameter",),
    "dtype of the mask": ("test_form.py::test_a_mask_may_be_boolean_and_stays_so",),
    "`PruningContainer(m1, m2)`": (
        "test_container.py::test_a_container_takes_methods_that_were_not_applied_yet",
        "test_container.py::test_a_container_takes_a_list",
    ),
    "`compute_mask` of a container": ("test_container.py::test_the_last_method_acts_on_what_the_mask_has_left",),
    "a generator passed to `global_unstructured`": ("test_global.py::test_a_generator_of_parameters_will_do",),
    "shared tensors in `global_unstructured`": ("test_global.py::test_shared_tensor_counts_and_is_pruned_once",),
    "masks from `global_unstructured`": ("test_global.py::test_masks_of_different_modules_share_no_storage",),
    "an error in `global_unstructured`": ("test_global.py::test_where_selection_fails_no_module_has_changed",),
    "an empty list of `parameters`": ("test_global.py::test_parameters_must_be_some",),
    "channels-last, transposed and other non-contiguous weights": (
        "test_methods.py::test_a_channels_last_weight_is_pruned_in_c_order_and_keeps_its_layout",
    ),
    "8-bit floats": ("test_methods.py::test_a_module_of_any_dtype_is_pruned",),
    "random masks": ("test_methods.py::test_random_scores_of_bfloat16_weights_differ",),
    "seed of random masks": (
        "test_methods.py::test_the_same_seed_gives_the_same_mask",
        "test_methods.py::test_without_a_seed_torch_manual_seed_governs",
        "test_methods.py::test_without_a_seed_no_two_tensors_share_a_mask",
    ),
    '`n="nuc"`, `n="fro"`': (
        "test_named_norms.py::test_nuclear_norm_is_refused_unless_tensors_have_three_dims",
        "test_named_norms.py::test_frobenius_norm_is_the_2_norm_for_any_number_of_dims",
    ),
    "a negative `dim` out of range": (
        "test_methods.py::test_what_does_not_fit_the_tensor_is_refused_with_torchs_type",
    ),
    "`copy.deepcopy` of a pruned module": ("test_deepcopy.py",),
    "pruned weights of plain parameters in training": ("test_hold_masks.py",),
    'calls that do not fit, such as `ln_structured(model, "linear.weight", method)`, a misspelt name, `"50%"`': (
        "test_calls.py",
    ),
    "errors": ("test_methods.py::test_what_does_not_fit_the_tensor_is_refused_with_torchs_type",),
    "several pruning hooks on one tensor; removing a method that was never applied": (
        "test_form.py::test_two_hooks_on_one_tensor_are_refused",
        "test_form.py::test_a_method_that_was_not_applied_has_nothing_to_remove",
    ),
    "8-bit floats without a zero (e8m0)": ("test_edges.py::test_a_dtype_without_zero_is_refused",),
    "a module with its own attribute `w_orig` beside `w`": ("test_edges.py::test_a_name_that_is_taken_is_refused",),
    "`importance_scores` of a shared tensor": ("test_edges.py::test_scores_of_shared_tensor_count_under_any_name",),
    "a structured method on a vector (a bias), pruned or not": (
        "test_edges.py::test_a_vector_has_no_channels_also_if_it_is_pruned",
    ),
    "`out_proj` of `nn.MultiheadAttention`": ("test_attention.py",),
    "random methods on integers and bool, L1 on bool": ("test_edges.py::test_integers_and_bools_are_pruned_at_random",),
    "norms of channels without entries": ("test_edges.py::test_channels_without_entries_have_a_norm",),
}
"""Files below `tests/engine`; with a function where a single test holds the difference."""
