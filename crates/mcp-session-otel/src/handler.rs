//! [`Observed`]: a handler whose requests and notifications have spans and durations.

use std::{fmt, sync::Arc, time::Instant};

use mcp_session_core::{
    Handler, InitializeRequest, InitializeResult, Json, Notification, NotificationContext, RequestContext,
    RpcError, Runtime, Session, SessionData, TerminateReason,
};
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};

use crate::{
    names,
    operation::{Operation, Params},
    outcome::Outcome,
    parent,
    telemetry::Telemetry,
};

/// A handler that does what another one does, and observes it: made by [`Telemetry::observe`].
///
/// The span of a request is current while its handler is polled: spans that the handler makes are below it, and what it calls can be
/// traced on.
pub struct Observed<H> {
    handler: Arc<H>,
    telemetry: Telemetry,
    runtime: Arc<dyn Runtime>,
}

impl<H: Handler> Observed<H> {
    pub(crate) fn new(handler: H, telemetry: Telemetry, runtime: Arc<dyn Runtime>) -> Self {
        Self { handler: Arc::new(handler), telemetry, runtime }
    }

    /// Begins to observe a request or a notification.
    fn begin(&self, operation: Operation, parent: &Context, more: Vec<KeyValue>) -> Observation {
        let tracer = &self.telemetry.parts().tracer;
        let mut attributes = operation.of_span();
        attributes.extend(more);
        // What is current here is the span of the HTTP request, if somebody makes one: another trace than that of MCP.
        let ambient = Context::current().span().span_context().clone();
        let is_other = ambient.is_valid() && ambient.span_id() != parent.span().span_context().span_id();
        let links = if is_other { vec![Link::with_context(ambient)] } else { Vec::new() };
        let span = SpanBuilder::from_name(operation.span_name())
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .with_links(links);
        let span = tracer.build_with_context(span, parent);
        Observation {
            telemetry: self.telemetry.clone(),
            runtime: Arc::clone(&self.runtime),
            context: parent.with_span(span),
            began: self.runtime.now(),
            version: None,
            operation: Some(operation),
        }
    }
}

/// A request that runs. If it is dropped, it has ended without an answer.
struct Observation {
    telemetry: Telemetry,
    runtime: Arc<dyn Runtime>,
    context: Context,
    began: Instant,
    version: Option<&'static str>,
    /// `None` once it has ended.
    operation: Option<Operation>,
}

impl Observation {
    fn end(&mut self, outcome: &Outcome) {
        let Some(operation) = self.operation.take() else { return };
        let span = self.context.span();
        let mut attributes = operation.of_metric(outcome.shows_target());
        attributes.extend(self.version.map(|version| KeyValue::new(names::VERSION, version)));
        if let Some(error) = outcome.error_type() {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, error.clone()));
            attributes.push(KeyValue::new(names::ERROR_TYPE, error));
            let text = if let Outcome::Error(_, message) = outcome { message.clone() } else { String::new() };
            span.set_status(Status::error(text));
        }
        if let Some(code) = outcome.status_code() {
            span.set_attribute(KeyValue::new(names::STATUS_CODE, code.clone()));
            attributes.push(KeyValue::new(names::STATUS_CODE, code));
        }
        span.end();
        let took = self.runtime.now().saturating_duration_since(self.began).as_secs_f64();
        self.telemetry.parts().operations.record(took, &attributes);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { Outcome::Panicked } else { Outcome::Dropped };
        self.end(&outcome);
    }
}

impl<H: Handler> Handler for Observed<H> {
    fn info(&self) -> InitializeResult {
        self.handler.info()
    }

    async fn initialize(&self, request: InitializeRequest) -> Result<InitializeResult, RpcError> {
        let operation = Operation::new("initialize", Params::default());
        let version = request.protocol_version.as_str();
        let mut more = vec![KeyValue::new(names::VERSION, version)];
        more.extend(request.session_id.map(|id| KeyValue::new(names::SESSION_ID, id.prefix())));
        let parent = parent::of(None, &request.headers);
        let mut observation = self.begin(operation, &parent, more);
        observation.version = Some(version);
        let context = observation.context.clone();
        let answer = self.handler.initialize(request).with_context(context).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Result,
            Err(error) => Outcome::of(&Err(error.clone()), false),
        };
        observation.end(&outcome);
        answer
    }

    fn tool_schema(&self, tool: &str) -> Option<Json> {
        self.handler.tool_schema(tool)
    }

    fn answers_subscriptions(&self) -> bool {
        self.handler.answers_subscriptions()
    }

    fn session_data(&self, session: &Session) -> SessionData {
        self.handler.session_data(session)
    }

    async fn request(&self, cx: RequestContext) -> Result<Json, RpcError> {
        let mut observation = {
            let params = Params::read(cx.raw_params());
            let parent = parent::of(params.meta.as_ref(), cx.headers());
            let operation = Operation::new(cx.method(), params);
            let version = cx.protocol_version().as_str();
            let mut more = vec![
                KeyValue::new(names::VERSION, version),
                KeyValue::new(names::REQUEST_ID, cx.id().to_string()),
            ];
            more.extend(cx.session_id().map(|id| KeyValue::new(names::SESSION_ID, id.prefix())));
            let mut observation = self.begin(operation, &parent, more);
            observation.version = Some(version);
            observation
        };
        let calls_tool = observation.operation.as_ref().is_some_and(Operation::calls_tool);
        let context = observation.context.clone();
        let answer = Arc::clone(&self.handler).request_boxed(cx).with_context(context).await;
        observation.end(&Outcome::of(&answer, calls_tool));
        answer
    }

    async fn notification(&self, notification: Notification, cx: NotificationContext) {
        let operation = Operation::notification(&notification.method);
        let mut observation = self.begin(operation, &Context::new(), Vec::new());
        let context = observation.context.clone();
        self.handler.notification(notification, cx).with_context(context).await;
        observation.end(&Outcome::Result);
    }

    async fn initialized(&self, session: Session) {
        self.handler.initialized(session).await;
    }

    async fn adopted(&self, session: Session) {
        self.handler.adopted(session).await;
    }

    async fn terminated(&self, session: Session, reason: TerminateReason) {
        self.handler.terminated(session, reason).await;
    }
}

impl<H> fmt::Debug for Observed<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}
