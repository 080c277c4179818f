//! Run with `cargo run`.
fn main() {}
