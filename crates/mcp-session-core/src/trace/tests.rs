use super::*;

#[test]
fn client_text_is_logged_on_one_line() {
    assert_eq!(told("tools/call"), "tools/call");
    assert_eq!(told("a\nb\r\u{1b}[31mc\u{9b}d\u{2028}e\0"), "a\\nb\\r\\u{1b}[31mc\\u{9b}d\\u{2028}e\\0");
    assert_eq!(told("\\n \"quoted\" 名前"), "\\\\n \"quoted\" 名前");
    assert_eq!(told(&"x".repeat(1_000_000)).len(), TOLD + 3);
}

#[test]
fn refusals_by_one_setting_are_logged_once_a_second() {
    let (refusals, now) = (Refusals::default(), crate::testing::start());
    let tell = |setting, after| refusals.tell(setting, now + Duration::from_millis(after));
    assert_eq!([tell("a", 0), tell("a", 0), tell("b", 1), tell("a", 999)], [Some(0), None, Some(0), None]);
    assert_eq!([tell("a", 1_000), tell("a", 1_500), tell("a", 2_000)], [Some(2), None, Some(1)]);
}
