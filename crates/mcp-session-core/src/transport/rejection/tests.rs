use super::*;

#[test]
fn b_43_a_failure_before_the_head_is_500_with_the_id() {
    let response =
        Rejection::Internal("no random bits").into_response(Some(&7.into()), false, &Config::default());
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = Rejection::Internal("no random bits").to_json(Some(&7.into()));
    assert_eq!(body, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"no random bits"}}"#);
}

#[test]
fn b_42_retryable_rejections_are_503_with_retry_after() {
    let config = Config::default();
    for rejection in [
        Rejection::TooManySessions,
        Rejection::TooManyBodies,
        Rejection::ReplyUnconfirmed,
        Rejection::ShuttingDown,
        Rejection::Session(Refusal::Draining),
        Rejection::Session(Refusal::TooManyRequests),
        Rejection::AuthTimeout,
    ] {
        let response = rejection.into_response(None, false, &config);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}

/// One of each kind, as the table has them.
fn all() -> Vec<Rejection> {
    use Rejection as R;
    let (text, json) = (String::new, || serde_json::json!({}).into());
    let value = || HeaderValue::from_static("Bearer");
    let mut all = vec![
        R::BadHost,
        R::ForbiddenHost(text()),
        R::ForbiddenOrigin(text()),
        R::MethodNotAllowed("POST"),
        R::Auth(AuthError::Unauthorized(value())),
        R::Auth(AuthError::Forbidden),
        R::Auth(AuthError::InsufficientScope(value())),
        R::Auth(AuthError::Malformed),
        R::Auth(AuthError::Unavailable),
        R::AuthTimeout,
        R::NotAcceptable("anything"),
        R::UnsupportedMediaType,
        R::UnsupportedEncoding,
        R::PayloadTooLarge,
        R::BodyTimeout,
        R::TooManyBodies,
        R::BodyIncomplete(text()),
        R::Message(ParseError::NotJson(text())),
        R::Message(ParseError::Batch),
        R::Message(ParseError::InvalidBatch("")),
        R::RepeatedHeader("Mcp-Session-Id"),
        R::MissingSession,
        R::UnknownSession,
        R::NeedsSession,
        R::UnsupportedVersion("2026-07-28".into(), Eras::Legacy),
        R::UnsupportedModernVersion("2025-11-25".into(), Eras::Modern),
        R::InvalidEnvelope("".into()),
        R::HeaderMismatch("".into()),
        R::MissingCapability(json()),
        R::UnknownMethod(text()),
        R::NotARequest,
        R::TooManyRequests,
        R::TooManySubscriptions,
        R::InvalidInitialize(RpcError::invalid_params("")),
        R::Moving,
        R::StoreUnavailable,
        R::ReplyUnconfirmed,
        R::TooManySessions,
        R::ShuttingDown,
        R::Internal(""),
    ];
    all.extend(
        [
            Refusal::AlreadyInitialized,
            Refusal::NotInitialized,
            Refusal::DuplicateId,
            Refusal::TooManyRequests,
            Refusal::StreamTaken,
            Refusal::StreamContested,
            Refusal::UnknownEvent,
            Refusal::Draining,
            Refusal::Gone,
        ]
        .map(R::Session),
    );
    all
}

/// The reasons in the documentation of `Refused` are those of the table, with their statuses and settings.
#[test]
fn the_documented_reasons_are_those_of_the_table() {
    let row = |rejection: &Rejection| {
        let Refused { reason, status, setting, .. } = rejection.to_observe();
        let setting = setting.map_or(String::new(), |all| format!("`{}` ", all.replace(", ", "`, `")));
        format!("| `{reason}` | {} | {setting}|", status.as_u16())
    };
    let mut expected: Vec<_> = all().iter().map(row).collect();
    let documented = include_str!("../../observer/reasons.md");
    let documented = documented.replace(", if it is a version of the other era", "");
    let mut documented: Vec<_> = documented.lines().skip(2).map(str::to_owned).collect();
    expected.sort();
    expected.dedup();
    documented.sort();
    assert_eq!(documented, expected);
}

/// E-20: what a client sent is in an error, but not in the log, where others read it.
#[test]
fn e_20_the_log_of_a_refusal_has_nothing_of_headers_and_bodies() {
    let secret = || "hunter2".to_owned();
    let refused = [
        Rejection::InvalidEnvelope(secret().into()),
        Rejection::HeaderMismatch(secret().into()),
        Rejection::UnknownMethod(secret()),
        Rejection::InvalidInitialize(RpcError::invalid_params(secret())),
        Rejection::UnsupportedVersion(secret(), Eras::Both),
        Rejection::UnsupportedModernVersion(secret(), Eras::Both),
    ];
    for rejection in refused {
        assert!(rejection.to_error().message.contains("hunter2"), "{rejection:?}");
        assert!(!rejection.to_log().error.contains("hunter2"), "{rejection:?}");
    }
    let version = Rejection::UnsupportedVersion("2024-11-05".into(), Eras::Both).to_log();
    assert!(version.error.contains("2024-11-05") && version.setting.is_none());
    let host = Rejection::ForbiddenHost("mcp.example.com".into()).to_log();
    assert!(host.error.contains("mcp.example.com") && host.setting == Some("Config::allowed_hosts"));
}

/// What 2026-07-28 adds: each of its codes for its one purpose (A-32), and none of those that older revisions use
/// (A-33, A-34).
#[test]
fn a_32_g_10_g_18_g_21_g_22_rejections_of_modern_requests() {
    let version = || "2099-01-01".to_owned();
    for (rejection, status, code) in [
        (Rejection::InvalidEnvelope("no".into()), 400, -32602),
        (Rejection::HeaderMismatch("no".into()), 400, -32020),
        (Rejection::UnsupportedModernVersion(version(), Eras::Both), 400, -32022),
        (Rejection::MissingCapability(serde_json::json!({ "sampling": {} }).into()), 400, -32021),
        (Rejection::UnknownMethod("ping".to_owned()), 404, -32601),
        (Rejection::NotARequest, 400, -32600),
        // Of a legacy endpoint (G-49).
        (Rejection::UnsupportedVersion(version(), Eras::Legacy), 400, -32600),
    ] {
        assert_eq!((rejection.status().as_u16(), rejection.to_error().code.0), (status, code));
        let response = rejection.into_response(Some(&7.into()), false, &Config::default());
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!((&body["id"], &body["error"]["code"]), (&7.into(), &code.into()));
    }
    let missing = Rejection::MissingCapability(serde_json::json!({ "sampling": {} }).into());
    let data = missing.to_error().data.unwrap();
    assert_eq!(data.as_str(), r#"{"requiredCapabilities":{"sampling":{}}}"#);
    let long = Rejection::UnknownMethod("x".repeat(1_000_000));
    assert!(long.to_error().message.len() < 200);
}

/// The table uses the five codes of JSON-RPC and the two that older SDKs use with 404 and 503, and none of those
/// that later revisions reserve (A-32, G-49).
#[test]
fn a_15_g_49_rejections_use_only_known_codes() {
    let refusals = [
        Refusal::AlreadyInitialized,
        Refusal::NotInitialized,
        Refusal::DuplicateId,
        Refusal::TooManyRequests,
        Refusal::StreamTaken,
        Refusal::StreamContested,
        Refusal::Draining,
        Refusal::Gone,
    ];
    let others = [
        Rejection::ForbiddenHost("evil.example.com".to_owned()),
        Rejection::MethodNotAllowed("POST"),
        Rejection::Auth(AuthError::Forbidden),
        Rejection::Auth(AuthError::insufficient_scope("a")),
        Rejection::AuthTimeout,
        Rejection::Message(ParseError::NotJson(String::new())),
        Rejection::Message(ParseError::Batch),
        Rejection::Message(ParseError::InvalidBatch("empty")),
        Rejection::InvalidInitialize(RpcError::invalid_params("no")),
        Rejection::UnknownSession,
        Rejection::Internal("no"),
    ];
    let all = refusals.map(Rejection::Session).into_iter().chain(others);
    for rejection in all {
        let code = rejection.to_error().code.0;
        assert!([-32700, -32600, -32601, -32602, -32603, -32000, -32001].contains(&code), "{rejection:?}");
        let not_found = rejection.status() == StatusCode::NOT_FOUND;
        assert_eq!(
            not_found,
            rejection.to_error().code == ErrorCode::SESSION_NOT_FOUND,
            "B-41: {rejection:?}"
        );
    }
}
