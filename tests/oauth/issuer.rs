//! Run with `cargo run -p mcp-session-tests --example issuer`, stop with Ctrl-C: an authorization server that allows everything to
//! everybody, for trying `everything --oauth-issuer` with real clients.

use mcp_session_tests::TestIssuer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let issuer = TestIssuer::start().await;
    println!("{}", issuer.url());
    tokio::signal::ctrl_c().await
}
