"""Which tests check each guarantee of `docs/security.md`, by its text."""

from collections.abc import Mapping
from typing import Final

GUARANTEES: Final[Mapping[str, tuple[str, ...]]] = {
    "The server uses TLS on addresses that other machines can reach, or does not start unless plaintext "
    "is allowed explicitly (`PRUNING_ALLOW_PLAINTEXT`).": (
        "tests/service/test_settings.py::test_it_does_not_speak_in_the_clear_elsewhere_unless_it_is_told_to",
        "tests/service/test_server.py::test_settings_that_make_no_sense_are_refused_before_anything_starts",
    ),
    "If the setting of a token file or CA is empty by mistake (`PRUNING_TOKEN_FILE=`), the server does "
    "not start, instead of admitting all callers.": (
        "tests/service/test_settings.py::test_empty_file_setting_is_refused",
    ),
    "Tokens are not accepted over plaintext from other machines unless this is allowed as well "
    "(`PRUNING_ALLOW_PLAINTEXT_TOKENS`). The client never sends one over plaintext to another machine.": (
        "tests/service/test_settings.py::test_tokens_do_not_travel_in_the_clear_unless_that_is_said_too",
        "tests/client/transport/test_addresses.py::test_token_does_not_leave_this_machine_in_the_clear",
    ),
    "The client sends no model over plaintext to another machine unless it is told to (`insecure=True`, "
    "`--insecure`).": (
        "tests/client/transport/test_addresses.py::test_model_leaves_this_machine_in_plaintext_only_if_asked",
        "tests/client/cli/test_cli_connection.py::test_insecure_sends_to_another_machine",
    ),
    "A client keeps nothing of a server's answer that the request cannot have: plan and report name tensors of the "
    "file, each once, and are bounded in bytes; names, dtypes and shapes of the result are compared with the request, "
    "or with the groups of the report where channels are removed. A result that does not end is refused.": (
        "tests/client/calls/test_malicious_server.py",
    ),
    "With mTLS, a client without a certificate of the CA gets no connection.": (
        "tests/service/auth/test_tls.py::test_client_without_a_certificate_of_the_ca_gets_no_connection",
    ),
    "If only one side uses TLS, the error says so.": (
        "tests/service/auth/test_tls.py::test_client_in_the_clear_is_told_of_tls",
        "tests/service/auth/test_tls.py::test_client_over_tls_is_told_of_a_server_in_the_clear",
    ),
    "Certificates, keys and the client CA are renewed without a restart, however the files are replaced. "
    "Existing connections continue.": (
        "tests/service/auth/test_tls.py::test_certificate_is_renewed_and_connections_that_are_there_live_on",
        "tests/service/auth/test_tls.py::test_new_connections_see_files_that_were",
        "tests/service/auth/test_tls.py::test_ca_of_the_clients_is_renewed_too",
    ),
    "A token file that is gone for a minute admits nobody. A file that cannot be read keeps its tokens, and the metric "
    "says so.": (
        "tests/service/auth/test_tokens.py::test_file_that_is_gone_admits_nobody_after_its_time",
        "tests/service/auth/test_tokens.py::test_file_that_cannot_be_read_keeps_its_tokens",
    ),
    "The history in a file's metadata has at most 1 MiB, and one of more than 2 MiB is replaced unread.": (
        "tests/service/messages/test_history.py::test_history_keeps_the_newest_rounds_and_counts_the_others",
        "tests/service/messages/test_history.py::test_recipe_that_is_too_long_is_left_out_of_the_history",
        "tests/service/messages/test_history.py::test_history_that_is_too_long_is_replaced_unread",
    ),
    "Invalid, mismatched or expired certificate files, and those that gRPC cannot use, never replace valid ones. The "
    "log says so, and a metric (`pruning_secrets_stale`), for which there is an alert.": (
        "tests/service/auth/test_tls.py::test_expired_ca_leaves_the_one_before_in_use",
        "tests/service/auth/test_tls.py::test_files_that_cannot_be_used_are_a_metric",
        "tests/service/auth/test_tls.py::test_broken_files_leave_the_old_in_use_and_are_told_once",
        "tests/service/auth/test_tls.py::test_files_that_do_not_fit_are_refused_by_name",
    ),
    "If tokens are configured, every call except health checks needs one: `Prune`, `GetCapabilities`, jobs, "
    "operations and reflection.": (
        "tests/service/rpc/test_authentication.py::test_caller_without_one_is_refused_whatever_it_asks",
        "tests/service/rpc/test_authentication.py::test_reflection_wants_a_token_too",
        "tests/service/rpc/test_authentication.py::test_health_is_open_to_everybody",
    ),
    "The messages of a refused call are neither parsed nor stored. Its client receives the reason, even "
    "if it sends everything before it reads.": (
        "tests/service/rpc/test_authentication.py::test_refusal_is_told_twice_also_to_a_client_that_writes_everything_first",
        "tests/service/rpc/test_authentication.py::test_refused_client_that_takes_nothing_is_let_go_of",
        "tests/service/rpc/test_authentication.py::test_refused_calls_are_taken_from_a_few_at_a_time_and_the_others_end_at_once",
    ),
    "A token is compared as its SHA-256, in constant time, with every line of the file. The file may "
    "contain digests only.": (
        "tests/service/auth/test_tokens.py::test_token_is_known_by_itself_or_its_digest",
        "tests/service/auth/test_tokens.py::test_every_line_is_compared_in_constant_time",
    ),
    "A removed token is refused, and an added one accepted, from the next call on.": (
        "tests/service/rpc/test_authentication.py::test_token_that_is_taken_away_is_refused_at_the_next_call",
        "tests/service/auth/test_tokens.py::test_change_of_a_linked_folder_counts_too",
        "tests/service/auth/test_tokens.py::test_last_token_that_is_taken_away_lets_nobody_in",
    ),
    "The log names the caller of each call, by token or certificate. It never contains a token, a key or a weight.": (
        "tests/service/rpc/test_authentication.py::test_log_names_the_caller_and_never_a_token",
        "tests/service/auth/test_tls.py::test_log_names_the_caller_by_its_certificate",
        "tests/service/auth/test_tls.py::test_log_names_the_caller_of_a_refused_call_too",
        "tests/service/auth/test_callers.py::test_name_of_a_certificate_cannot_forge_a_line_of_the_log",
        "tests/service/auth/test_tokens.py::test_file_that_makes_no_sense_is_refused_by_its_line_and_not_shown",
        "tests/service/test_settings.py::test_key_in_place_of_its_path_is_refused_and_not_shown",
    ),
    "The server logs a warning if a file with tokens or a private key is readable by all users of the machine.": (
        "tests/service/auth/test_tokens.py::test_token_that_everybody_on_the_machine_can_read_is_told",
        "tests/service/auth/test_tls.py::test_key_that_everybody_on_the_machine_can_read_is_told",
    ),
    "A call states the memory that it needs, and is refused before it sends its tensors if that memory is "
    "not available. It uses no more than it reserved.": (
        "tests/service/resources/test_memory_budget.py",
        "tests/service/resources/test_memory.py",
    ),
    "With a GPU, a call reserves the memory that its plan takes there before the plan is sent; it waits, or is "
    "refused.": (
        "tests/service/resources/test_device_share.py",
        "tests/engine/execution/test_device_memory.py",
    ),
    "Headers, tensors, messages, calls and streams per connection are limited. `GetCapabilities` reports the limits.": (
        "tests/service/calls/test_refusals.py",
        "tests/service/rpc/test_limits.py::test_file_of_too_many_tensors_is_refused",
        "tests/service/rpc/test_limits.py::test_message_above_the_most_bytes_is_refused_unread",
        "tests/service/rpc/test_limits.py::test_call_above_the_most_is_refused_for_now",
        "tests/service/rpc/test_limits.py::test_call_above_the_most_of_a_connection_waits_for_one_to_end",
        "tests/service/rpc/test_limits.py::test_capabilities_tell_the_limits",
    ),
    "Clients that hold memory but hardly send or read are disconnected.": (
        "tests/service/streams/test_throughput.py",
        "tests/service/streams/test_deaf_clients.py",
    ),
    "Patterns are limited in number and length, and so are aliases (of tensors and auxiliary tensors together), "
    "input dims and the sparsities of a scan. A regular expression takes linear time and at most 1 MiB, whatever its "
    "groups. No pattern of a caller of more than 128 characters is kept after its call.": (
        "tests/service/calls/test_refusals.py",
        "tests/engine/planning/test_name_patterns.py",
    ),
    "Malicious headers, truncated or reordered streams, and patterns designed to be slow are refused and "
    "leave nothing behind.": (
        "tests/system/test_campaigns.py",
        "tests/proto/safetensors/test_header_like_the_official_parser.py",
    ),
    "Nothing from a request or a file is ever executed: no pickle, no eval.": (
        "tests/repository/test_no_foreign_code.py::test_nothing_runs_what_it_is_given",
        "tests/service/calls/test_refusals.py::test_pickle_is_refused_and_never_opened",
    ),
    "The server runs no code other than its own and that of methods that its operator installed under the "
    "entry point group `pruning_engine.methods`, which callers select by name.": (
        "tests/repository/test_no_foreign_code.py::test_server_has_one_door_for_installed_code_and_no_other_exception",
        "tests/service/calls/test_installed_methods.py",
    ),
    "No command, and no child process, imports a Python file from the current folder.": (
        "tests/system/test_current_folder.py",
        "tests/repository/test_no_foreign_code.py::test_every_child_of_a_package_starts_without_the_current_folder",
    ),
    "A link in a model's folder that leaves the folder is refused by name before anything is read. Links into the "
    "`blobs` of a Hugging Face cache are followed.": ("tests/client/huggingface/test_copied_folder.py",),
    "No result has set-uid or set-gid. A link of another user in a folder such as `/tmp` is not followed when a result "
    "is written.": (
        "tests/client/huggingface/test_copied_folder.py::test_no_set_uid_or_set_gid_is_copied",
        "tests/client/checkpoints/test_atomic_file.py::test_set_uid_and_set_gid_of_the_old_file_are_not_kept",
        "tests/client/checkpoints/test_followed_links.py",
    ),
    "A second server does not take a Unix socket from the first. SIGHUP stops a server like SIGTERM, unless it is "
    "ignored.": (
        "tests/service/test_server.py::test_second_server_on_a_unix_socket_is_refused",
        "tests/service/test_server.py::test_a_closed_terminal_stops_it_like_sigterm",
    ),
    "The process ends 10 s after the drain, or at a second SIGTERM or SIGINT, whatever its threads still do.": (
        "tests/service/test_server.py::test_a_second_signal_ends_a_drain",
        "tests/service/test_server.py::test_thread_that_never_ends_does_not_keep_the_process",
    ),
    "Options have at most 2 MiB. At most 20 unknown fields are named, none of more than 4 KiB of them, and none are "
    "looked for in a data message of more than 1 KiB beside its data.": (
        "tests/service/calls/test_refusals.py",
        "tests/service/messages/test_unknown_fields.py",
    ),
    "Memory for options of more than 64 KiB is reserved before they are parsed, and for more than 8 regular "
    "expressions before they are compiled.": (
        "tests/service/rpc/test_limits.py::test_what_options_take_is_reserved_before_it_is_planned",
        "tests/service/rpc/test_limits.py::test_malformed_options_are_reserved_for_before_they_are_parsed",
    ),
    "A call counts as under way, for `PRUNING_MAX_CALLS` and in the metrics, until its last thread has ended.": (
        "tests/service/calls/test_served_call.py",
    ),
    "Planning has threads of its own, of which one computes at a time, and takes at most 60 s. It ends soon after its "
    "caller has left.": ("tests/service/resources/test_planning_threads.py",),
    "Many channel groups in a small file are not planned or pruned on the event loop.": (
        "tests/service/calls/test_work_estimate.py::test_many_groups_are_no_light_work_however_few_tensors",
    ),
    "Health checks on their own port need neither TLS nor tokens. They report NOT_SERVING while the "
    "server drains, after its device failed permanently, and when its event loop was blocked for 30 s.": (
        "tests/service/observability/test_health_port.py::test_probe_needs_neither_tls_nor_a_token",
        "tests/service/observability/test_health_port.py::test_server_that_drains_says_not_serving_while_calls_run",
        "tests/service/resources/test_device_faults.py::test_a_lost_device_ends_the_calls_beside_and_health",
        "tests/service/observability/test_health_port.py::test_event_loop_that_hangs_turns_health_off_and_one_that_runs_again_turns_it_on",
    ),
    "No caller can keep a health check of another waiting, or the server from stopping: by watching "
    "without reading, by calls that never send their message, or by messages above 256 bytes, which are "
    "not parsed. At most 256 calls watch on the main port and 8 on the health port.": (
        "tests/service/observability/test_hostile_health.py",
    ),
    "A call that does not send its first message within 10 s is ended. A unary call of a caller without a token is "
    "refused before its message is received, and 60 such calls that never finish a message of 4 MiB take less than "
    "64 MiB.": (
        "tests/service/observability/test_hostile_health.py::test_message_that_does_not_come_ends_its_call",
        "tests/service/streams/test_request_stream.py::test_first_message_has_a_deadline_of_its_own",
        "tests/service/rpc/test_unauthenticated.py::test_unary_call_is_refused_before_its_message",
        "tests/service/rpc/test_unauthenticated.py::test_sixty_unfinished_calls_hold_little_memory",
    ),
    "Health checks with messages of 4 MiB take less than 48 MiB together, and none of these messages is kept after its "
    "call.": (
        "tests/service/rpc/test_unauthenticated.py::test_overlong_health_messages_hold_little_memory",
        "tests/service/rpc/test_reading_turns.py",
    ),
    "One call makes the server hold less than 26 MiB beyond its reservation, which is released only once what the "
    "options and the plan took has been returned to the system, also when the client leaves while its call is "
    "planned.": ("tests/service/resources/test_above_reservation.py",),
    "A file's metadata has at most 100,000 keys.": ("tests/service/calls/test_refusals.py",),
    "Connections to the main port are limited in number.": (
        "tests/service/rpc/test_unauthenticated.py::test_connections_above_the_most_are_closed",
    ),
    "A connection to the metrics port is closed after 10 s, however slowly it goes, and the oldest one when there are "
    "more than 16. Lack of file descriptors is no busy loop.": (
        "tests/service/observability/test_metrics_server.py::test_connection_that_asks_for_nothing_is_let_go_of_without_a_word",
        "tests/service/observability/test_metrics_server.py::test_request_that_comes_slowly_has_a_deadline",
        "tests/service/observability/test_metrics_server.py::test_many_connections_have_few_threads_and_keep_nobody_waiting",
        "tests/service/observability/test_metrics_server.py::test_lack_of_descriptors_is_no_busy_loop",
    ),
    "Malformed and overlong messages of health checks and reflection end their call with INVALID_ARGUMENT and leave no "
    "line in the log. No name that a health check asks for is remembered.": (
        "tests/service/observability/test_hostile_health.py::test_reflection_of_what_it_is_not_leaves_the_log_alone",
        "tests/service/observability/test_hostile_health.py::test_overlong_and_malformed_requests_are_refused_unparsed",
        "tests/service/observability/test_hostile_health.py::test_new_service_names_are_not_remembered",
    ),
    "Packages of the images are installed by their hashes, and `make image` builds only on a base that is pinned by "
    "its digest. The images contain neither pip nor apt, in no layer, and each has a bill of materials.": (
        "tests/deploy/test_image_requirements.py",
        "tests/deploy/test_dockerfile.py",
        "tests/scripts/test_base_image.py",
        "tests/scripts/test_sbom.py",
        "tests/images/running.py::test_image_has_no_pip",
        "tests/images/running.py::test_image_has_no_apt_and_knows_its_packages",
    ),
    "On Kubernetes, everything is denied in the namespace that no policy allows. Callers are in namespaces that an "
    'administrator labelled. Pods conform to the Pod Security Standard "restricted", with users of their own.': (
        "tests/deploy/test_kubernetes.py::test_nothing_in_the_namespace_is_reached_unless_a_policy_allows_it",
        "tests/deploy/test_kubernetes.py::test_callers_are_in_namespaces_that_are_labelled",
        "tests/deploy/test_kubernetes.py::test_pods_ask_for_no_more_than_the_restricted_standard",
        "tests/deploy/test_kubernetes.py::test_user_of_a_pod_is_another_one_on_its_node",
    ),
    "Refusals are counted by reason and logged, one line per call.": (
        "tests/service/rpc/test_authentication.py::test_refusal_is_one_line_in_the_log_and_counted",
    ),
    "A job reads and writes only below the places of `PRUNING_STORES`, and only those that its caller may name. "
    "No way of writing a URI leads out of them: dots, links, encodings, other hosts, other schemes, the state of "
    "other jobs.": (
        "tests/service/rpc/test_jobs.py::test_a_forbidden_place_is_refused",
        "tests/service/rpc/test_jobs.py::test_callers_have_their_own_places",
        "tests/service/jobs/test_requests.py",
    ),
    "A caller sees, cancels and deletes only jobs whose targets it may open. Others do not exist for it.": (
        "tests/service/rpc/test_jobs.py::test_callers_see_only_jobs_whose_targets_they_may_open",
        "tests/service/rpc/test_jobs.py::test_each_method_needs_a_token",
    ),
    "The request of a job is refused by the path of what is wrong, also if any part of it is unknown, before "
    "anything is opened.": ("tests/service/jobs/test_requests.py::test_a_fault_is_refused_by_its_path",),
    "A job never writes over what it finds at its target, and two jobs never write to one.": (
        "tests/system/test_jobs.py::test_what_is_at_the_target_stays",
        "tests/service/jobs/test_targets.py",
    ),
    "After the death of any process of a job, at any moment and any number of times, the job ends with the bytes "
    "of an undisturbed one, or with a reason and without a result.": (
        "tests/system/test_jobs.py::test_the_death_of_a_worker_changes_nothing",
        "tests/system/test_jobs.py::test_the_death_of_a_server_changes_nothing",
        "tests/system/test_campaigns.py::test_processes_of_jobs_may_be_killed",
    ),
    "Of many processes that could carry out a job, one does. It stops before another can begin, whatever their "
    "clocks say.": (
        "tests/service/jobs/test_leases.py",
        "tests/system/test_jobs.py::test_two_servers_and_one_job",
    ),
    "A server opens what `PRUNING_STORES` lists, and nothing where it is not set. A place that is listed "
    "for some callers is closed to all others, also where it lies in one that is open to everybody.": (
        "tests/service/stores/test_allowed.py::test_everything_else_is_refused",
        "tests/service/stores/test_allowed.py::test_nothing_is_allowed_by_default",
        "tests/service/stores/test_allowed.py::test_process_of_a_server_opens_nothing_else",
        "tests/service/stores/test_allowed.py::test_setting_that_makes_no_sense",
    ),
    "Nobody can name the folder `_pruning`, in which jobs keep their state.": (
        "tests/service/stores/test_allowed.py::test_everything_else_is_refused",
    ),
    "Nothing outside of a place of `file://` is read, written or deleted, whatever `..` and links there "
    "are: what is opened is looked at once it is open.": (
        "tests/service/stores/test_local_root.py::test_link_out_of_the_root_is_refused",
        "tests/service/stores/test_local_root.py::test_nothing_is_written_through_a_link_out_of_the_root",
        "tests/service/stores/test_local_root.py::test_write_replaces_a_link_and_not_what_it_leads_to",
        "tests/service/stores/test_local_root.py::test_nothing_is_deleted_through_a_link",
        "tests/service/stores/test_uris.py::test_refused",
        "tests/service/stores/test_uris.py::test_child_does_not_leave_its_place",
    ),
    "A caller cannot make a server contact a host: a URI has no host, port, user or query, endpoints come "
    "from the settings, and credentials from the environment of the server.": (
        "tests/service/stores/test_uris.py::test_refused",
    ),
    "Messages and the log show URIs without query strings, user names and passwords.": (
        "tests/service/stores/test_uris.py::test_error_shows_no_secret",
        "tests/service/stores/test_remote_errors.py::test_message_has_no_query_string",
    ),
    "An object is visible once it is whole, and `config.json` and the index after all weights. A run that "
    "fails leaves no object of its own.": (
        "tests/service/stores/test_store.py::test_incomplete_object_is_not_visible",
        "tests/service/stores/test_store.py::test_object_of_a_failed_writer_is_not_visible",
        "tests/client/stored/test_result.py::test_what_loaders_begin_with_is_put_last",
        "tests/client/stored/test_result.py::test_nothing_stays_of_a_run_that_fails",
    ),
    "A source that changes while it is read ends the run, by its name, and so does a body that is shorter "
    "than was asked for.": (
        "tests/service/stores/test_store.py::test_object_that_changes_is_named",
        "tests/client/stored/test_faults.py::test_shard_that_changes_meanwhile_is_named",
        "tests/client/stored/test_faults.py::test_body_that_stays_short_is_an_error",
    ),
    "A Ray cluster that a run or a job starts admits nobody but that run: it asks for a token that is drawn for it. "
    "Its workers unpickle what comes from the run, which unpickles the errors of its workers, and nothing else is "
    "unpickled.": (
        "tests/client/jobs/executors/test_ray_executor.py::test_own_cluster_admits_nobody_else",
        "tests/repository/test_no_foreign_code.py::test_nothing_runs_what_it_is_given",
    ),
    "A call that lacks memory, disk space, a thread or a file descriptor of the machine ends with NO_ROOM, and leaves "
    "nothing reserved. The server serves on, and needs no restart once there is more.": (
        "tests/faults/test_lacks.py",
        "tests/service/resources/test_trim_when_idle.py::test_memory_is_given_back_after_a_lack_of_file_descriptors",
    ),
    "No call and no job ends, begins again or is held longer because the machine's clock was set.": (
        "tests/faults/test_clock.py",
    ),
    "Headers, recipes, statistics and packed files that a fuzzer makes are read, or refused by a reason. The compiled "
    "kernels touch no memory beyond their arrays.": (
        "tests/fuzzing/test_corpus.py",
        "tests/fuzzing/test_sanitized.py",
    ),
    "An installed method that does not end is interrupted when its call is cancelled, and when the server stops, "
    "unless it is in one operation in C, which ends first.": (
        "tests/service/calls/test_installed_methods.py::"
        "test_method_that_does_not_end_is_interrupted_when_its_call_is_cancelled",
        "tests/service/calls/test_installed_methods.py::test_method_that_does_not_end_keeps_no_server_from_stopping",
        "tests/engine/runtime/test_interruption.py",
    ),
    "A call above `PRUNING_MAX_CALLS` is refused before any of its messages is decoded, also if none comes.": (
        "tests/service/rpc/test_limits.py::test_call_above_the_most_is_refused_before_its_message_is_decoded",
    ),
}
"""Files, with the function where single tests check a guarantee."""
