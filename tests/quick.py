"""The tests of ``pytest -m quick``: some of each area, with both codecs, in less than 20 seconds together.

Each entry is a module, and the names of its tests; no names mean all of them. test_helpers.py checks that they exist.
"""

from __future__ import annotations

QUICK: dict[str, tuple[str, ...]] = {
    # The opening handshake
    "test_3_uris": (),
    "test_4_1_client_handshake": (
        "test_request_of_the_rfc",
        "test_right_response_opens_the_connection",
        "test_wrong_response_fails_the_handshake",
        "test_frames_behind_the_response_are_kept",
    ),
    "test_4_2_server_handshake": (
        "test_response_of_the_rfc",
        "test_requests_of_real_clients",
        "test_other_faults_are_400",
        "test_our_client_and_our_server_agree",
    ),
    "test_headers": (),
    # The codec
    "test_5_1_masking_roles": (),
    "test_5_2_base_framing": (
        "test_reserved_bits_fail_1002",
        "test_length_not_in_its_shortest_form_fails_1002",
    ),
    "test_5_3_masking": ("test_apply_mask_of_every_size", "test_payload_of_every_size_is_unmasked"),
    "test_5_4_fragmentation": (
        "test_fragments_are_joined",
        "test_continuation_without_start_fails_1002",
        "test_text_fragments_may_cut_a_character_anywhere",
    ),
    "test_5_4_streaming": (
        "test_what_was_collected_comes_at_once",
        "test_text_is_checked_across_parts",
        "test_limits_are_for_the_whole_message",
    ),
    "test_5_5_control_frames": (
        "test_ping_and_pong_carry_their_payload",
        "test_close_of_one_byte_fails_1002",
        "test_bytes_after_a_close_are_ignored",
    ),
    "test_5_7_examples": (),
    "test_7_4_close_codes": ("test_the_shared_rule_is_the_rfc_s", "test_every_close_code_is_sent_or_refused"),
    "test_8_1_utf8": (
        "test_fail_fast_across_fragments",
        "test_invalid_byte_fails_when_it_arrives",
        "test_every_short_sequence_as_cpython_has_it",
        "test_text_is_checked_over_every_cut_of_a_long_text",
    ),
    "test_10_3_masking_keys": (),
    "test_10_4_limits": (
        "test_message_at_its_limit_and_one_above",
        "test_claimed_length_allocates_nothing",
        "test_frame_limit_comes_before_message_limit",
    ),
    "test_agreement": ("test_any_bytes_decode_alike", "test_shrinkable_streams_decode_alike"),
    "test_buffers": (),
    "test_encoder": (),
    "test_kernel_levels": (),
    "test_receiving_in_place": (),
    "test_text_as_bytes": (),
    # Compression
    "test_7692_negotiation": (),
    "test_7692_messages": ("test_examples_of_the_rfc", "test_both_codecs_agree_on_random_streams"),
    # The session, and the connection on an event loop
    "test_7_closing_handshake": (),
    "test_session_backlog": (),
    "test_session_causes": (),
    "test_session_ending": (),
    "test_session_queue": (),
    "test_asyncio_connection": ("test_recv_returns_str_for_text_and_bytes_for_binary", "test_facts"),
    "test_asyncio_sending": (
        "test_fragments_as_text",
        "test_pongs_do_not_pile_up_behind_a_peer_that_does_not_read",
    ),
    "test_asyncio_listener": (
        "test_messages_come_inside_the_read",
        "test_what_follows_in_the_read_waits_while_reading_is_paused",
        "test_a_callback_that_raises_closes_with_1011_and_is_logged_once",
        "test_echo_of_listeners_at_both_ends",
    ),
    "test_asyncio_client": ("test_async_with", "test_fragments_over_a_socket", "test_wss"),
    "test_asyncio_server": (
        "test_echo",
        "test_origins",
        "test_messages_before_close_are_answered_on_the_wire",
    ),
    "test_asyncio_broadcast": (
        "test_the_report_counts_each_connection_once",
        "test_send_stands_after_what_waits",
    ),
    "test_asyncio_drain": ("test_all_are_told_and_leave", "test_the_deadline_cuts"),
    "test_asyncio_limits": ("test_a_server_fails_with_1009", "test_connections_of_a_server"),
    "test_asyncio_stats": ("test_frames_of_both_directions", "test_a_block_goes_out_in_one_write"),
    "test_browser": (
        "test_each_event_is_a_task_of_its_own",
        "test_buffered_amount_while_the_peer_does_not_read",
        "test_close_at_any_time_while_it_connects",
    ),
    "test_limits": (),
    "test_testing": ("test_messages_both_ways", "test_any_frame", "test_time_jumps"),
    "test_asyncio_idioms": (),
    "test_asyncio_proxy": ("test_ws_through_an_http_proxy", "test_addresses"),
    "test_asyncio_streaming": (
        "test_parts_come_before_the_end_of_the_message",
        "test_a_message_that_is_given_up",
    ),
    "test_trio_connection": (
        "test_messages_both_ways",
        "test_every_call_is_a_checkpoint",
        "test_a_call_that_is_cancelled_has_done_nothing",
    ),
    "test_trio_client": ("test_open_and_close", "test_exceptions_of_the_block_come_out_as_they_are"),
    "test_trio_server": ("test_echo", "test_tls", "test_the_end_of_a_server"),
    "test_sync_connection": (
        "test_a_timeout_loses_nothing",
        "test_threads_send_whole_messages",
        "test_close_wakes_a_receiver",
    ),
    "test_sync_client_server": ("test_echo", "test_wss", "test_shutdown_closes_connections_with_1001"),
    # The rest
    "test_architecture": (),
    "test_cli": ("test_version", "test_connect_prints_replies_and_nothing_else"),
    "test_codec_selection": (
        "test_native_codec_is_used_where_it_was_built",
        "test_wsfast_pure_forces_the_fallback",
    ),
    "test_doctor": (),
    "test_exceptions": (),
    "test_patch": (),
}
