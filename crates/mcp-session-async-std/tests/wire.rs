//! The wire suite, on async-std.

mod bed;

use bed::AsyncStdBed;
use mcp_session_testkit::wire_suite;

wire_suite!(
    async_std,
    AsyncStdBed,
    without http2: "async-h1 speaks HTTP/1.1 only",
    without chunk_extensions: "async-h1 does not know them: the body counts as broken off",
);
