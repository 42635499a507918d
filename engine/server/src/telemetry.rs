//! Logs to standard error, and traces by OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set. A span that has a field
//! `traceparent` (W3C Trace Context) continues that trace, whoever made the span: so a saga's spans belong to the trace
//! of whoever started it, and the packages that make them need to know no exporter.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::Context as TraceContext;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, filter};

use crate::config::LogFormat;
use crate::error::{StartError, chain};

/// How long the last spans may take to leave: a collector that is silent must not hold the process.
const EXPORT_GRACE: Duration = Duration::from_secs(2);

/// What has to be ended before the process does.
#[derive(Debug)]
#[must_use = "spans that were not exported yet are lost unless it is shut down"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Sets up logs and traces for the process. `AMENDS_LOG` wins over `filter`.
///
/// # Errors
/// If the filter cannot be read, the exporter cannot be made, or another subscriber was set up before.
pub fn init(format: LogFormat, filter: &str) -> Result<Telemetry, StartError> {
    // The exporter speaks TLS through the process's provider; one that was installed before is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directives = std::env::var("AMENDS_LOG")
        .ok()
        .filter(|directives| !directives.is_empty());
    let directives = directives.unwrap_or_else(|| filter.to_owned());
    let parsed = EnvFilter::try_new(&directives);
    let filter =
        parsed.map_err(|error| StartError::Config(format!("log_filter: {}", chain(&error))))?;
    let traces = provider()?;
    let exporting = traces.as_ref().map(|provider| {
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("amends"));
        // The exporter's own requests must not make spans that have to be exported.
        Continuing(spans).with_filter(filter::filter_fn(|metadata| {
            // Of each attempt there is a span, at DEBUG so that logs do not pay for it; traces are what it is for.
            let level = if metadata.is_span() {
                tracing::Level::DEBUG
            } else {
                tracing::Level::INFO
            };
            *metadata.level() <= level && metadata.target().starts_with("amends")
        }))
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(exporting)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| StartError::Telemetry(chain(&error)))?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Exports what is left, for a moment at most.
    pub async fn shutdown(self) {
        let Some(traces) = self.traces else { return };
        // It blocks until the collector answered.
        let ended =
            tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(EXPORT_GRACE)).await;
        if let Ok(Err(error)) = ended {
            tracing::debug!(%error, "the last spans may be lost");
        }
    }
}

fn provider() -> Result<Option<SdkTracerProvider>, StartError> {
    let endpoint = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT")
        .ok()
        .filter(|endpoint| !endpoint.is_empty());
    if endpoint.is_none() {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .build();
    let exporter = exporter.map_err(|error| StartError::Telemetry(chain(&error)))?;
    let resource = Resource::builder();
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
    let resource = if named {
        resource
    } else {
        resource.with_service_name("amends")
    };
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build(),
    ))
}

/// Puts a new span under the trace that its field `traceparent` names, and leaves the rest to the layer within.
struct Continuing<L>(L);

impl<S, L> Layer<S> for Continuing<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let mut found = Traceparent::default();
        attributes.record(&mut found);
        // The layer within takes the current context for the parent of a new span.
        let _parent = found
            .0
            .and_then(|traceparent| continued(&traceparent))
            .map(TraceContext::attach);
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &span::Id, follows: &span::Id, context: Context<'_, S>) {
        self.0.on_follows_from(id, follows, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.0.on_event(event, context);
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

fn continued(traceparent: &str) -> Option<TraceContext> {
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    let context =
        TraceContextPropagator::new().extract_with_context(&TraceContext::new(), &carrier);
    opentelemetry::trace::TraceContextExt::has_active_span(&context).then_some(context)
}

/// The field `traceparent` of a span.
#[derive(Default)]
struct Traceparent(Option<String>);

impl Visit for Traceparent {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "traceparent" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "traceparent" {
            self.0 = Some(format!("{value:?}").trim_matches('"').to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceId;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_span_with_a_traceparent_continues_that_trace_and_its_children_with_it() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(Continuing(spans));
        tracing::subscriber::with_default(subscriber, || {
            let outer = tracing::info_span!("rpc", traceparent = PARENT);
            outer.in_scope(|| tracing::info_span!("inner").in_scope(|| {}));
            drop(outer);
            tracing::info_span!("alone", traceparent = "nonsense").in_scope(|| {});
        });
        let finished = exporter.get_finished_spans().unwrap();
        let trace = |name: &str| {
            let span = finished.iter().find(|span| span.name == name).unwrap();
            span.span_context.trace_id()
        };
        let caller = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
        assert_eq!((trace("rpc"), trace("inner")), (caller, caller));
        assert_ne!(trace("alone"), caller);
        let rpc = finished.iter().find(|span| span.name == "rpc").unwrap();
        assert_eq!(rpc.parent_span_id.to_string(), "b7ad6b7169203331");
    }
}
