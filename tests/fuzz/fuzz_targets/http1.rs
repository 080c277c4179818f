#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcp_session_tests::fuzz::http1::run(input));
