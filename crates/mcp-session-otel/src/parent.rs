//! Where a span comes from: the trace context of `_meta`, or of the HTTP request.

use http::HeaderMap;
use opentelemetry::{Context, global, propagation::Extractor, trace::TraceContextExt};

use crate::operation::Meta;

/// The parent of the span of a request: what its client says in `_meta` (SEP-414), else in the headers of the HTTP request.
pub(crate) fn of(meta: Option<&Meta>, headers: &HeaderMap) -> Context {
    let extract = |from: &dyn Extractor| {
        global::get_text_map_propagator(|it| it.extract_with_context(&Context::new(), from))
    };
    let by_meta = meta.map(|meta| extract(meta)).filter(|it| it.span().span_context().is_valid());
    by_meta.unwrap_or_else(|| extract(&Headers(headers)))
}

impl Extractor for Meta {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent.as_deref(),
            "tracestate" => self.tracestate.as_deref(),
            "baggage" => self.baggage.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        ["traceparent", "tracestate", "baggage"].into_iter().filter(|key| self.get(key).is_some()).collect()
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
