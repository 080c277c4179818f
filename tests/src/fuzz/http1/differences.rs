//! What the adapter refuses and hyper accepts, on purpose. The other way round, there is nothing.

/// The adapter's reason, and why hyper may be more lenient.
pub(super) const STRICTER: &[(&str, &str)] = &[
    (
        "a line has to end in CR LF",
        "hyper takes a bare LF: another parser in front may not see a line end there",
    ),
    ("the method is unknown", "`http-types` has a list of methods; hyper takes any token"),
    (
        "the request target cannot be read",
        "dots, fragments and credentials: a proxy may decide by another path or host",
    ),
    ("`Host` has to be one host", "hyper leaves it to the service; our endpoint refuses it there"),
    ("the target or a field is not ASCII", "`http-types` keeps ASCII only"),
    (
        "`Content-Length` and `Transfer-Encoding` exclude each other",
        "hyper ignores the length: another parser may ignore the chunks (RFC 9112, 6.1)",
    ),
    ("`Content-Length` has to be there once", "hyper takes equal ones as one"),
    (
        "`Transfer-Encoding` has to be `chunked`, once, and in HTTP/1.1",
        "hyper passes on a body that is compressed as well; nobody here would decompress it",
    ),
    (
        "the chunks of the body cannot be read",
        "hyper takes spaces after a size, and any byte in an extension",
    ),
];

/// Whether the adapter refuses this on purpose.
pub(super) fn is_known(reason: &str) -> bool {
    STRICTER.iter().any(|(own, _)| *own == reason)
}
