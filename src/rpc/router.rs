//! Which path goes where. gRPC, grpc-web, reflection, health and the plain HTTP pages share one port.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, Method, header};
use relay_proto::server::chat::v1::{
    chat_service_server::ChatServiceServer, moderation_service_server::ModerationServiceServer,
    presence_service_server::PresenceServiceServer, room_service_server::RoomServiceServer,
};
use tonic::service::Routes;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::{
    chat::ChatApi,
    gate::{self, Gate},
    http::{self as pages, Pages},
    moderation::ModerationApi,
    presence::PresenceApi,
    rooms::RoomApi,
    stream::{self, Streams},
};
use crate::{
    bus::Bus,
    chat::{Chat, Feed, Presence, Renewals, Typing},
    clock::Clock,
    config::{ServerConfig, StreamConfig},
    hub::Hub,
    identity::Tokens,
    lifecycle::Draining,
    telemetry::Metrics,
};

/// What the wire needs of the rest of the house.
#[expect(missing_docs, reason = "each is what its type says")]
pub struct Services {
    pub chat: Chat,
    pub feed: Arc<Feed>,
    pub hub: Arc<Hub>,
    pub bus: Arc<dyn Bus>,
    pub renewals: Arc<Renewals>,
    pub typing: Arc<Typing>,
    pub presence: Arc<Presence>,
    pub tokens: Tokens,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    pub draining: Draining,
    pub health: HealthReporter,
}

/// Everything that the port serves.
///
/// # Errors
/// The contract or an origin cannot be used; the message says which.
pub fn router(
    services: Services,
    server: &ServerConfig,
    stream: &StreamConfig,
    max_sends_in_flight: usize,
) -> Result<Router, String> {
    let Services { chat, feed, hub, bus, renewals, typing, presence, tokens, clock, metrics, draining, health } =
        services;
    let limit = server.max_request_bytes;
    let api = ChatApi { chat: chat.clone(), hub: hub.clone(), renewals, typing: typing.clone(), clock: clock.clone() };
    let moderation = ModerationApi { chat: chat.clone(), clock };
    let mut routes = Routes::new(ChatServiceServer::new(api).max_decoding_message_size(limit))
        .add_service(RoomServiceServer::new(RoomApi { chat: chat.clone() }).max_decoding_message_size(limit))
        .add_service(ModerationServiceServer::new(moderation).max_decoding_message_size(limit))
        .add_service(
            PresenceServiceServer::new(PresenceApi { presence: presence.clone() }).max_decoding_message_size(limit),
        )
        .add_service(tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(health)));
    routes = add_reflection(routes)?;
    let pages_chat = chat.clone();
    let streams = Arc::new(Streams {
        chat,
        feed,
        hub: hub.clone(),
        typing,
        presence,
        tokens: tokens.clone(),
        draining: draining.clone(),
        max_request_bytes: limit,
        open_timeout: stream.open_timeout,
        max_sends_in_flight,
    });
    let gate = Gate { tokens, metrics: metrics.clone(), request_timeout: server.request_timeout };
    let streaming: Router = Router::new()
        .route("/relay.chat.v1.ChatService/Connect", post(stream::connect))
        .route("/relay.chat.v1.ChatService/Subscribe", post(stream::subscribe))
        .with_state(streams);
    let grpc = streaming
        .merge(routes.prepare().into_axum_router().reset_fallback())
        .layer(from_fn_with_state(gate, gate::pass));
    let web = GrpcWebLayer::new().layer(grpc.clone());
    let pages = Router::new()
        .route("/health", get(pages::health))
        .route("/ready", get(pages::ready))
        .route("/metrics", get(pages::metrics))
        .with_state(Arc::new(Pages { chat: pages_chat, metrics, draining, hub, bus }));
    Ok(pages
        .fallback_service(grpc)
        .layer(from_fn_with_state(web, translate_grpc_web))
        .layer(cors(&server.cors_origins)?))
}

fn add_reflection(routes: Routes) -> Result<Routes, String> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(relay_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can show what an error says beside its text.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let explain = |error: tonic_reflection::server::Error| format!("reflection: {error}");
    Ok(routes
        .add_service(builder().build_v1().map_err(explain)?)
        .add_service(builder().build_v1alpha().map_err(explain)?))
}

fn content_type(request: &Request) -> &str {
    request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// Browsers' calls go through tonic-web; all others do not pay for it.
async fn translate_grpc_web(
    State(web): State<tonic_web::GrpcWebService<Router>>,
    request: Request,
    next: Next,
) -> Response {
    if content_type(&request).starts_with("application/grpc-web") {
        match web.oneshot(request).await {
            Ok(response) => response.map(axum::body::Body::new),
            Err(never) => match never {},
        }
    } else {
        next.run(request).await
    }
}

/// Which web origins may call.
///
/// # Errors
/// An origin cannot be used; the message says which.
pub fn cors(origins: &[String]) -> Result<CorsLayer, String> {
    let allow = match origins {
        [any] if any == "*" => AllowOrigin::any(),
        several if several.iter().any(|origin| origin == "*") => {
            return Err("server.cors_origins: \"*\" stands alone; with it no other origin says anything".into());
        }
        origins => {
            let parse = |origin: &String| {
                HeaderValue::from_str(origin).map_err(|_| format!("server.cors_origins: {origin:?} is no origin"))
            };
            AllowOrigin::list(origins.iter().map(parse).collect::<Result<Vec<_>, _>>()?)
        }
    };
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    let headers = ["authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"];
    Ok(CorsLayer::new()
        .allow_origin(allow)
        .allow_methods([Method::POST, Method::GET])
        .allow_headers(headers.map(HeaderName::from_static))
        .expose_headers(exposed)
        .max_age(std::time::Duration::from_secs(86_400)))
}
