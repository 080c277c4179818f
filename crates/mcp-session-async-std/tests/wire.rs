//! The wire suite, on async-std.

mod bed;

use bed::AsyncStdBed;
use mcp_session_testkit::wire_suite;

wire_suite!(
    async_std,
    AsyncStdBed,
    without http2: "it speaks HTTP/1 only",
);
