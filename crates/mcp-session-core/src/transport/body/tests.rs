use super::*;

#[test]
fn body_errors_keep_their_causes_and_limits_are_recognized_by_text() {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<BoxError>);
    let around = |cause: Layer| Layer("the body could not be read", Some(cause.into()));
    let broken = |error: Layer| broken_off(&error);
    let reset = || Layer("connection reset", None);
    let said = |why: &str| Rejection::BodyIncomplete(why.to_owned());
    assert_eq!(broken(reset()), said("connection reset"));
    assert_eq!(broken(around(reset())), said("the body could not be read: connection reset"));
    assert_eq!(
        broken(Layer("failed: connection reset", Some(reset().into()))),
        said("failed: connection reset")
    );
    let limit = || Layer("length limit exceeded", None);
    assert_eq!(broken(limit()), Rejection::PayloadTooLarge);
    assert_eq!(broken(around(around(limit()))), Rejection::PayloadTooLarge);
}
