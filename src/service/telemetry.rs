//! Decisions as OpenTelemetry traces, where the site names a collector.
//!
//! ```text
//! decision                  from the question (or the verdict, when nothing was asked) to its writes
//! ├── reason                the model
//! └── write                 registers written and read back
//! ```
//!
//! Times are the machine's, whatever clock the site goes by. Nothing here is waited for: spans are exported
//! by a thread of their own, and dropped when the collector does not keep up.

use std::time::SystemTime;

use opentelemetry::trace::{Span, SpanBuilder, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::actuate::Outcome;
use crate::clock;
use crate::control::record::DecisionRecord;
use crate::site::Site;

#[derive(Debug)]
pub(super) struct Telemetry {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// The decision under way.
    turn: Option<Turn>,
}

#[derive(Debug)]
struct Turn {
    root: Context,
    asked: SystemTime,
    /// It has been recorded: what follows are its writes.
    decided: bool,
}

impl Telemetry {
    /// `None` where the site names no collector.
    pub(super) fn start(site: &Site) -> Result<Option<Self>, String> {
        let Some(url) = &site.telemetry.otlp else { return Ok(None) };
        // Fails when the program already has one, which then stays.
        rustls::crypto::ring::default_provider().install_default().ok();
        // Spans go where the site file says, and nowhere else.
        let client = reqwest::blocking::Client::builder().no_proxy().build().map_err(|e| e.to_string())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/')))
            .build()
            .map_err(|e| e.to_string())?;
        let resource = Resource::builder()
            .with_service_name("isotherm")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("isotherm.site", site.name.to_string()))
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("isotherm");
        Ok(Some(Self { provider, tracer, turn: None }))
    }

    pub(super) fn asked(&mut self) {
        self.end_turn();
        self.turn = Some(self.begin());
    }

    fn begin(&self) -> Turn {
        let asked = clock::system(clock::now());
        let span = self.tracer.build(SpanBuilder::from_name("decision").with_start_time(asked));
        Turn { root: Context::new().with_span(span), asked, decided: false }
    }

    /// The model's answer is there, or its failure.
    pub(super) fn replied(&self, failure: Option<String>) {
        let Some(turn) = &self.turn else { return };
        let reason = SpanBuilder::from_name("reason").with_start_time(turn.asked);
        let mut span = self.tracer.build_with_context(reason, &turn.root);
        if let Some(why) = failure {
            span.set_status(Status::error(why));
        }
        span.end();
    }

    pub(super) fn decided(&mut self, record: &DecisionRecord) {
        if self.turn.as_ref().is_none_or(|turn| turn.decided) {
            self.end_turn();
            self.turn = Some(self.begin());
        }
        let Some(turn) = &mut self.turn else { return };
        turn.decided = true;
        let span = turn.root.span();
        span.set_attribute(KeyValue::new("isotherm.cause", word(&record.cause)));
        span.set_attribute(KeyValue::new("isotherm.mode", word(&record.mode)));
        span.set_attribute(KeyValue::new("isotherm.by", word(&record.verdict.by)));
        span.set_attribute(KeyValue::new("isotherm.disposition", word(&record.disposition)));
        span.set_attribute(KeyValue::new("isotherm.intervened", record.verdict.intervened));
        if let Some(claims) = &record.path.claims {
            span.set_attribute(KeyValue::new("isotherm.verified", claims.verified));
        }
        if let Some(replaced) = &record.path.replaced {
            span.set_attribute(KeyValue::new("isotherm.replaced", word(replaced)));
        }
        if let Some(confidence) = record.path.confidence {
            span.set_attribute(KeyValue::new("isotherm.confidence", confidence.get()));
        }
    }

    /// Registers were written since `began`.
    pub(super) fn wrote(&self, began: SystemTime, outcome: &Outcome) {
        let parent = self.turn.as_ref().map_or_else(Context::new, |turn| turn.root.clone());
        let write = SpanBuilder::from_name("write").with_start_time(began);
        let mut span = self.tracer.build_with_context(write, &parent);
        span.set_attribute(KeyValue::new("isotherm.writes", outcome.writes.len().to_string()));
        if outcome.release_needed {
            span.set_status(Status::error(outcome.trouble()));
        }
        span.end();
    }

    /// An input has been dealt with: a decision that was made has had its writes.
    pub(super) fn end_of_turn(&mut self) {
        if self.turn.as_ref().is_some_and(|turn| turn.decided) {
            self.end_turn();
        }
    }

    fn end_turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.root.span().end();
        }
    }

    /// Sends what there is. Takes as long as the collector does, at most some seconds.
    pub(super) fn close(mut self) {
        self.end_turn();
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces were not delivered");
        }
    }
}

/// An enum by its name in the audit log.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
