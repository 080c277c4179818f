use super::*;

#[test]
fn client_text_is_logged_on_one_line() {
    assert_eq!(told("tools/call"), "tools/call");
    assert_eq!(told("a\nb\r\u{1b}[31mc\u{9b}d\u{2028}e\0"), "a\\nb\\r\\u{1b}[31mc\\u{9b}d\\u{2028}e\\0");
    assert_eq!(told("\\n \"quoted\" 名前"), "\\\\n \"quoted\" 名前");
    assert_eq!(told(&"x".repeat(1_000_000)).len(), TOLD + 3);
}
