//! The behaviour suite: tests an endpoint on any runtime.
//!
//! Each scenario is a function that takes a [`TestBed`](crate::TestBed) and is named after the requirement or promise it
//! tests. [`behaviour_suite!`](crate::behaviour_suite) makes one `#[test]` of each scenario:
//!
//! ```
//! mcp_session_testkit::behaviour_suite!(sim, mcp_session_testkit::SimRuntime::new(1));
//! # fn main() {}
//! ```
//!
//! The scenarios pass on a virtual clock and on a real one. Times that must elapse are short ([`fixture::SOON`]), times
//! that must not elapse are long ([`fixture::NEVER`]), and everything else waits for a state.

#![allow(clippy::missing_panics_doc)] // a scenario panics if the endpoint does not behave as described

pub mod asking;
pub mod batches;
pub mod cluster;
pub mod fixture;
pub mod foreign;
pub mod framing;
pub mod http;
pub mod lifecycle;
pub mod limits;
pub mod messages;
pub mod replay;
pub mod security;
pub mod serve;
pub mod sessions;
pub mod shutdown;
pub mod soak;
pub mod statuses;
pub mod stores;
pub mod streams;

/// Generates `mod $module` with one `#[test]` for each scenario. The expression creates a fresh
/// [`TestBed`](crate::TestBed) for each test.
#[macro_export]
macro_rules! behaviour_suite {
    ($module:ident, $bed:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, clippy::wildcard_imports)] // the expression may use no name of the outer scope
            use super::*;
            $crate::behaviour_suite! { @scenarios $bed;
                asking: c_12_c_13_every_capability_is_checked_before_anything_is_sent,
                    f_25_errors_of_the_client_reach_the_handler,
                    f_19_f_27_notifications_of_the_client_reach_the_handler,
                    f_01_f_20_ids_of_each_direction_are_its_own, c_14_c_23_the_server_may_ping,
                    c_15_a_client_that_is_gone_keeps_no_session, c_06_nothing_is_announced_before_initialized,
                    d_21_a_broadcast_waits_for_nobody, e_23_elicitation_complete_goes_to_its_own_session,
                    f_35_the_life_of_sessions_is_told_once, s_15_refused_requests_are_counted;
                batches: a_21_a_24_each_request_has_its_own_answer, a_24_a_25_progress_of_many_on_one_stream,
                    a_23_notifications_or_replies_alone_get_202, a_26_json_answers_are_an_array,
                    a_22_a_28_a_29_batches_that_are_refused, a_27_initialize_has_to_come_alone,
                    a_29_an_invalid_message_gets_its_own_error, a_31_other_versions_have_no_batches,
                    a_21_all_of_a_batch_or_nothing, b_45_a_batch_in_the_form_that_is_accepted, a_21_a_cancelled_request_of_a_batch,
                    s_5_a_batch_in_a_shutdown, d_12_a_client_that_leaves_its_batch;
                http: b_7_status_matrix, absent_sessions_of_c_2, a_12_errors_echo_the_id, b_12_repeated_headers,
                    b_26_b_29_version_header, g_40_requests_without_sessions_are_told_to_fall_back,
                    e_32_empty_headers_count_as_absent, b_15_a_compressed_body_is_refused,
                    a_19_bodies_are_bounded, a_19_all_bodies_together_are_bounded,
                    what_arrives_while_the_process_is_stopped_counts, bodies_that_never_end_get_a_deadline,
                    b_05_b_07_host_and_origin, b_09_authentication, b_17_notifications_get_202,
                    notifications_are_bounded_and_end_with_the_session, duration_max_means_never;
                lifecycle: c_07_c_08_versions_are_negotiated, c_02_initialize_params_are_checked,
                    c_20_a_failed_initialize_leaves_nothing, c_17_c_19_repeated_initialization,
                    c_14_ping_in_every_state, e_24_b_38_one_delete_wins, e_25_delete_does_not_wait_for_handlers,
                    e_14_idle_sessions_expire, a_running_call_is_never_idle, an_open_stream_is_not_idle,
                    c_10_half_open_sessions_expire, c_18_e_14_a_used_session_lives_without_initialized,
                    e_14_d_12_an_unreachable_call_is_given_up, e_14_a_client_that_can_come_back_finds_its_call, e_15_sessions_are_capped, e_15_the_cap_counts_what_lingers,
                    e_15_a_hook_that_hangs_gives_its_place_back, e_15_an_unused_session_makes_room,
                    e_15_a_used_session_never_makes_room, s_12_one_reason_everywhere,
                    dropping_the_endpoint_cuts_what_is_open;
                foreign: s_8_s_13_a_store_that_panics_is_asked_again, b_43_a_credential_check_that_panics,
                    b_43_a_body_that_panics, a_21_a_batch_whose_extensions_panic;
                limits: limits_that_cannot_work_are_refused, the_smallest_limits_work;
                messages: answers_at_once_are_json, b_45_answers_come_in_the_form_that_is_accepted,
                    d_45_numbers_that_are_not_finite, d_02_progress_then_answer_then_end,
                    silence_becomes_a_stream, d_14_response_modes, a_03_only_objects_leave, a_panic_answers_and_the_session_lives_on, a_07_duplicate_ids,
                    a_08_ids_keep_their_type, a_17_params_arrive_byte_for_byte, a_18_unknown_methods,
                    f_02_f_08_cancelled_requests, f_33_a_handler_that_ignores_its_cancellation_is_dropped,
                    d_12_a_client_that_leaves_does_not_cancel, f_21_requests_to_the_client,
                    f_23_a_reply_from_another_session, f_24_a_reply_that_does_not_come,
                    f_24_a_request_that_cannot_be_sent, f_14_progress_that_waits, e_20_secrets_are_not_printed,
                    c_13_undeclared_capabilities, f_13_f_14_progress_needs_a_token_and_grows;
                framing: a_01_a_02_json_rpc_2_in_utf_8, a_03_null_counts_as_absent, a_09_b_17_nothing_is_replied_to_a_notification, a_11_a_15_the_five_codes, a_20_nothing_is_added_to_a_result;
                statuses: b_04_b_05_b_06_the_origin_of_every_request, b_10_e_05_a_session_id_is_no_credential, b_11_values_are_case_sensitive, b_01_b_16_json_or_events, b_20_b_21_errors_of_a_handler_are_answers, b_22_last_event_id_on_a_post_is_ignored, b_23_b_25_b_27_a_session_knows_its_version, b_28_initialize_does_not_look_at_the_version_header, b_31_b_32_b_33_a_get_is_a_stream_or_405, b_35_b_36_b_37_b_38_b_39_delete_and_other_methods, b_41_404_means_that_there_is_no_such_session, b_42_f_38_overload_and_shutdown_are_503;
                sessions: c_01_e_09_initialize_comes_first, c_03_c_09_c_25_a_version_mismatch_is_no_error, e_01_e_16_e_21_the_id_is_told_once, e_11_e_12_e_13_f_28_a_dead_id_is_404_for_everything, e_17_nothing_of_a_session_is_left_to_the_next,
                    the_data_of_a_session_ends_with_it, b_43_a_session_whose_data_cannot_be_made, f_04_f_05_f_06_races_of_cancels_are_harmless, f_12_f_18_progress_follows_its_request, f_22_requests_go_out_on_the_stream_of_their_call, f_29_f_30_f_31_f_34_f_36_what_a_terminated_session_leaves, c_16_f_41_there_is_no_message_for_a_shutdown;
                security: e_07_a_foreign_principal_finds_nothing, e_07_a_foreign_principal_keeps_no_session_alive,
                    e_15_sessions_of_one_principal_are_capped, e_15_what_has_expired_makes_room,
                    e_02_e_03_e_04_session_ids, b_40_cors_for_allowed_origins, b_40_cors_answers_and_credentials,
                    b_09_a_credential_that_lacks_a_scope, b_09_a_check_of_the_credential_that_waits,
                    b_44_the_first_check_that_fails_answers, b_12_a_repeated_credential,
                    e_07_a_thousand_foreign_principals, f_23_a_thousand_foreign_replies,
                    f_09_a_thousand_foreign_cancels;
                streams: d_17_notifications_on_the_standalone_stream, d_43_d_44_what_an_event_says,
                    d_22_a_second_standalone_stream, d_23_a_client_that_comes_again_is_let_in,
                    d_23_two_clients_with_one_session_settle,
                    d_42_heartbeats, s_11_a_stalled_reader_stalls_nobody_else, d_20_many_streams_in_one_session,
                    a_full_queue_makes_its_sender_wait, events_that_are_ready_share_a_frame;
                replay: d_30_a_cut_call_goes_on_where_its_client_was, d_33_an_answer_waits_for_its_client,
                    d_34_the_seam_from_replay_to_live, d_12_a_call_outlives_its_connection,
                    d_08_d_09_priming_goes_by_the_negotiated_version, d_35_without_replay_nothing_is_pretended,
                    d_23_a_newer_connection_takes_over, d_24_notifications_wait_for_a_connection,
                    d_36_what_is_forgotten_is_refused, d_31_d_37_foreign_and_forged_ids_get_nothing,
                    e_25_delete_ends_every_stream, d_06_a_client_that_is_sent_away_comes_back,
                    s_6_a_shutdown_sends_no_retry, s_5_a_client_that_was_sent_away_is_waited_for,
                    f_26_a_request_waits_for_its_client;
                stores: the_data_of_a_session_is_made_at_each_node, s_6_s_13_a_session_moves_with_its_running_call, s_13_delete_at_any_node_purges,
                d_17_d_24_the_shared_stream_is_read_anywhere, b_18_f_23_replies_and_cancels_find_their_node,
                e_07_somebody_elses_session_is_unknown_at_every_node,
                d_31_f_23_foreign_ids_and_replies_get_nothing_anywhere,
                d_21_a_stream_is_on_one_connection_at_a_time, s_5_the_call_of_a_lost_node_is_answered,
                s_13_a_store_that_hangs_holds_up_nobody, s_5_a_batch_runs_after_its_client_left, s_13_a_store_that_is_away_for_a_while_loses_nothing,
                e_14_idle_here_is_not_idle_elsewhere, s_13_without_its_store_no_session_is_promised,
                e_11_delete_is_answered_when_the_store_knows_it,
                f_39_a_thousand_sessions_move;
                cluster: c_10_initialized_at_one_node_counts_at_every_node,
                    d_17_what_is_said_before_initialized_is_not_dropped, d_21_one_node_listens_for_a_session,
                    d_21_a_plain_get_goes_on_where_another_node_was, d_23_a_listener_that_is_lost_holds_up_nobody, d_24_a_plain_get_begins_with_what_is_kept,
                    s_12_a_session_that_is_parked_has_not_ended, e_14_a_session_idle_at_every_node_ends_once, e_14_a_session_that_no_node_serves_ends_with_its_hook,
                    e_10_max_age_counts_from_the_birth_at_every_node,
                    e_15_a_session_that_is_refused_leaves_nothing, c_02_every_node_knows_its_client,
                    s_1_an_old_handle_does_not_unregister_a_readopted_session,
                    d_17_messages_of_a_readopting_node_are_delivered,
                    d_30_a_stream_read_from_the_store_is_not_trimmed_away,
                    s_7_a_delete_elsewhere_ends_bodies_properly, s_9_a_delete_elsewhere_is_no_failure_of_a_drain;
                soak: d_21_e_11_ten_minutes_of_round_robin;
                shutdown: s_1_sessions_born_during_shutdown, s_2_never_404_while_draining,
                    s_3_hung_handlers_do_not_move_the_ceiling, s_4_nothing_in_flight_returns_at_once,
                    s_5_exactly_one_answer_json, s_5_exactly_one_answer_sse, s_5_an_obedient_handler_answers_itself,
                    s_5_initialize_is_answered_too, s_7_streams_end_before_shutdown_resolves,
                    s_8_failures_are_isolated, s_8_hooks_are_waited_for, s_9_totals_are_those_of_the_start,
                    s_10_idempotent_tightened_and_escalated, s_10_dropping_the_handle_changes_nothing,
                    s_10_tightened_in_a_later_phase, draining_reaches_what_outlives_its_answer,
                    f_38_the_next_question_of_a_client_is_answered,
                    s_11_a_client_that_reads_nothing_delays_nobody, s_14_a_post_half_arrived,
                    s_14_half_a_post_ends_with_the_drain,
                    s_14_output_after_the_end, s_15_observable_at_any_moment, lame_duck_serves_everything,
                    replies_cancels_and_delete_arrive_while_draining, terminate_closes_post_and_get_alike;
                serve: s_7_connections_close_after_the_endpoint, s_3_a_connection_that_stays_is_cut,
                    s_8_a_connection_that_panics_harms_nobody,
                    s_8_a_listener_and_a_signal_that_panic, servers_that_cannot_work_are_refused, accepting_goes_on_after_an_error,
                    s_10_signals_begin_and_escalate,
                    s_10_a_signal_repeated_at_once_does_not_escalate,
                    s_7_several_endpoints_stop_together, s_10_signals_escalate_several_endpoints,
                    a_connection_at_work_has_the_whole_budget, dropping_the_server_cuts_its_connections;
            }
        }
    };
    (@scenarios $bed:expr; $($group:ident: $($scenario:ident),+;)+) => {
        $($(
            #[test]
            fn $scenario() {
                $crate::behaviour::$group::$scenario(&$crate::Watchdog::new($bed));
            }
        )+)+
    };
}
