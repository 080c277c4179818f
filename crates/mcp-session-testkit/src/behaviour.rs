//! The behaviour suite: what an endpoint does, scenario by scenario, on any runtime.
//!
//! Each scenario is a function of a [`TestBed`](crate::TestBed), named after the requirement or promise it shows.
//! [`behaviour_suite!`](crate::behaviour_suite) makes one `#[test]` of each:
//!
//! ```
//! mcp_session_testkit::behaviour_suite!(sim, mcp_session_testkit::SimRuntime::new(1));
//! # fn main() {}
//! ```
//!
//! They hold on a virtual clock and on a real one. What has to elapse is short ([`world::SOON`]), what must not
//! elapse is long ([`world::NEVER`]), and everything else waits for a state.

#![allow(clippy::missing_panics_doc)] // a scenario panics where the endpoint does not do what it says

pub mod http;
pub mod lifecycle;
pub mod messages;
pub mod replay;
pub mod shutdown;
pub mod streams;
pub mod world;

/// One `#[test]` for each scenario, inside `mod $module`. The expression makes a fresh
/// [`TestBed`](crate::TestBed) for each.
#[macro_export]
macro_rules! behaviour_suite {
    ($module:ident, $bed:expr $(,)?) => {
        mod $module {
            #[allow(unused_imports, clippy::wildcard_imports)] // the expression may name nothing from outside
            use super::*;
            $crate::behaviour_suite! { @scenarios $bed;
                http: b_7_status_matrix, absent_sessions_of_c_2, a_12_errors_echo_the_id, b_12_repeated_headers,
                    b_26_b_29_version_header, g_40_requests_without_sessions_are_told_to_fall_back,
                    a_31_batches_are_refused, a_19_bodies_are_bounded, bodies_that_never_end_get_a_deadline,
                    b_05_b_07_host_and_origin, b_09_authentication, b_17_notifications_get_202,
                    notifications_are_bounded_and_end_with_the_session, never_is_a_limit;
                lifecycle: c_07_c_08_versions_are_negotiated, c_02_initialize_params_are_checked,
                    c_20_a_failed_initialize_leaves_nothing, c_17_c_19_repeated_initialization,
                    c_14_ping_in_every_state, e_24_b_38_one_delete_wins, e_25_delete_does_not_wait_for_handlers,
                    e_14_idle_sessions_expire, a_running_call_is_never_idle, an_open_stream_is_not_idle,
                    c_10_half_open_sessions_expire, e_15_sessions_are_capped, e_15_the_cap_counts_what_lingers, s_12_one_reason_everywhere,
                    dropping_the_endpoint_cuts_what_is_open;
                messages: answers_at_once_are_json, d_02_progress_then_answer_then_end,
                    silence_becomes_a_stream, d_14_response_modes, a_03_only_objects_leave, a_panic_answers_and_the_session_lives_on, a_07_duplicate_ids,
                    a_08_ids_keep_their_type, a_17_params_arrive_byte_for_byte, a_18_unknown_methods,
                    f_02_f_08_cancelled_requests, f_33_a_handler_that_ignores_its_cancellation_is_dropped,
                    d_12_a_client_that_leaves_does_not_cancel, f_21_requests_to_the_client,
                    f_23_a_reply_from_another_session, f_24_a_reply_that_does_not_come,
                    f_24_a_request_that_cannot_be_sent, f_14_progress_that_waits, e_20_secrets_are_not_printed,
                    c_13_undeclared_capabilities, f_13_f_14_progress_needs_a_token_and_grows;
                streams: d_17_notifications_on_the_standalone_stream, d_22_a_second_standalone_stream,
                    d_42_heartbeats, s_11_a_stalled_reader_stalls_nobody_else, d_20_many_streams_in_one_session,
                    a_full_queue_makes_its_sender_wait;
                replay: d_30_a_cut_call_goes_on_where_its_client_was, d_33_an_answer_waits_for_its_client,
                    d_34_the_seam_from_replay_to_live, d_12_a_call_outlives_its_connection,
                    d_08_d_09_priming_goes_by_the_negotiated_version, d_35_without_replay_nothing_is_pretended,
                    d_23_a_newer_connection_takes_over, d_24_notifications_wait_for_a_connection,
                    d_36_what_is_forgotten_is_refused, d_31_d_37_foreign_and_forged_ids_get_nothing,
                    e_25_delete_ends_every_stream, d_06_a_client_that_is_sent_away_comes_back,
                    s_6_a_shutdown_invites_nobody_back, s_5_a_client_that_was_sent_away_is_waited_for,
                    f_26_a_request_waits_for_its_client;
                shutdown: s_1_sessions_born_during_shutdown, s_2_never_404_while_draining,
                    s_3_hung_handlers_do_not_move_the_ceiling, s_4_nothing_in_flight_returns_at_once,
                    s_5_exactly_one_answer_json, s_5_exactly_one_answer_sse, s_5_an_obedient_handler_answers_itself,
                    s_5_initialize_is_answered_too, s_7_streams_end_before_shutdown_resolves,
                    s_8_failures_are_isolated, s_8_hooks_are_waited_for, s_9_totals_are_those_of_the_start,
                    s_10_idempotent_tightened_and_escalated, s_10_dropping_the_handle_changes_nothing,
                    s_10_tightened_in_a_later_phase, draining_reaches_what_outlives_its_answer,
                    s_11_a_client_that_reads_nothing_delays_nobody, s_14_a_post_half_arrived,
                    s_14_output_after_the_end, s_15_observable_at_any_moment, lame_duck_serves_everything,
                    replies_cancels_and_delete_arrive_while_draining, terminate_closes_post_and_get_alike;
            }
        }
    };
    (@scenarios $bed:expr; $($group:ident: $($scenario:ident),+;)+) => {
        $($(
            #[test]
            fn $scenario() {
                $crate::behaviour::$group::$scenario(&$bed);
            }
        )+)+
    };
}
