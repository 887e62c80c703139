//! The plain HTTP pages: is it alive, does it take work, how is it.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use http::{StatusCode, header};

use crate::{
    bus::{Bus, Health},
    chat::Chat,
    hub::Hub,
    lifecycle::Draining,
    telemetry::Metrics,
};

/// How long the database may take to answer before the node counts as not ready.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// What the pages look at.
pub(super) struct Pages {
    pub(super) chat: Chat,
    pub(super) metrics: Arc<Metrics>,
    pub(super) draining: Draining,
    pub(super) hub: Arc<Hub>,
    pub(super) bus: Arc<dyn Bus>,
}

/// The process is there.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// The node takes work: its database answers, it hears what other nodes publish, and it is not shutting down. That Redis is
/// away is no reason to send work elsewhere: others lack it as well, and all do without.
pub(super) async fn ready(State(pages): State<Arc<Pages>>) -> (StatusCode, &'static str) {
    if pages.draining.is_set() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if pages.bus.health() == Health::Deaf {
        return (StatusCode::SERVICE_UNAVAILABLE, "redis takes messages and delivers none\n");
    }
    match tokio::time::timeout(READY_TIMEOUT, pages.chat.ping()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

/// The metrics, for Prometheus.
pub(super) async fn metrics(
    State(pages): State<Arc<Pages>>,
) -> Result<([(header::HeaderName, &'static str); 1], String), StatusCode> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    pages.metrics.sessions.set(i64::try_from(pages.hub.session_count()).unwrap_or(i64::MAX));
    let text = pages.metrics.render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text))
}
