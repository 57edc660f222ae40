//! The endpoints agents see.

use crate::auth::{Caller, Keyring};
use crate::capture::Fault;
use crate::drive::{Destination, Means, PreparedCall, Reply, drive};
use crate::error::ApiError;
use crate::request::{Changes, Defaults, Prepared, prepare};
use crate::route;
use crate::trial::Trial;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use trajgen_contract::layout::JobDir;
use trajgen_contract::record::{DEFAULT_SESSION, WireProtocol};

/// The longest session id, characters.
const MAX_SESSION: usize = 256;
/// Why a call has no record whose task panicked.
const BROKE_DOWN: &str = "the call broke down within the proxy";
/// How long the upstream's state is believed.
const READINESS: Duration = Duration::from_secs(10);

/// All that the endpoints share.
pub(crate) struct Shared {
    pub(crate) means: Arc<Means>,
    pub(crate) keyring: Keyring,
    /// Open trials by name.
    pub(crate) trials: Mutex<HashMap<String, Arc<Trial>>>,
    /// All calls under way.
    pub(crate) calls: TaskTracker,
    pub(crate) defaults: Defaults,
    pub(crate) max_body_bytes: usize,
    pub(crate) jobs_dir: PathBuf,
    pub(crate) job: String,
    pub(crate) readiness: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// The endpoints.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/chat/completions", post(chat_completions))
        .route("/v1/models", get(models))
        .route("/models", get(models))
        .route("/v1/models/{*id}", get(model))
        .route("/models/{*id}", get(model))
        .route("/health", get(alive))
        .route("/health/liveliness", get(alive))
        .route("/health/liveness", get(alive))
        .route("/health/readiness", get(ready))
        .route("/", any(root))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(shared)
}

/// The header that tells what a call cost, USD; LiteLLM's.
pub const RESPONSE_COST: &str = "x-litellm-response-cost";

async fn chat_completions(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let protocol = WireProtocol::OpenAi;
    match begin(&shared, request, protocol).await {
        Ok(Reply::Whole(body, cost)) => {
            let mut response = json_response(StatusCode::OK, Body::from(body));
            if let Some(cost) = cost.and_then(|cost| HeaderValue::try_from(cost.to_string()).ok()) {
                response.headers_mut().insert(RESPONSE_COST, cost);
            }
            response
        }
        Ok(Reply::Stream(events)) => {
            let events = ReceiverStream::new(events).map(Ok::<_, std::convert::Infallible>);
            let mut response = Response::new(Body::from_stream(events));
            let headers = response.headers_mut();
            headers
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Ok(Reply::Error(error)) | Err(error) => error.response(protocol),
    }
}

/// From a request to the head of its answer.
async fn begin(shared: &Arc<Shared>, request: Request, protocol: WireProtocol) -> Result<Reply, ApiError> {
    let began = Instant::now();
    let caller = shared.keyring.caller(request.headers()).ok_or_else(ApiError::unauthorized)?;
    let (parts, body) = request.into_parts();
    let body = read_body(body, shared.max_body_bytes).await?;
    let info = shared.means.upstream.info();
    let changes = Changes {
        upstream: info,
        defaults: shared.defaults,
        temperature: text(&parts.headers, "x-harbor-temperature")
            .and_then(|text| text.parse().ok())
            .filter(|temperature: &f64| temperature.is_finite()),
        takes_output_path: matches!(caller, Caller::Master),
    };
    let prepared = prepare(&body, &changes).map_err(ApiError::bad_request)?;
    let destination = shared.destination(caller, &parts.headers, &prepared)?;
    // Counted before it asks leave: a trial that is being closed waits for every call that got leave.
    let counted = destination.trial.as_ref().map(|trial| trial.calls.token());
    if let Some(trial) = &destination.trial {
        trial.begin_call().map_err(ApiError::refused)?;
    }
    let unrecorded = Unrecorded { trial: destination.trial.clone() };
    let (reply, answer) = oneshot::channel();
    let call =
        drive(Arc::clone(&shared.means), PreparedCall { prepared, destination, protocol, began }, reply);
    shared.calls.spawn(async move {
        let mut unrecorded = unrecorded;
        call.await;
        unrecorded.trial = None;
        drop(unrecorded);
        drop(counted);
    });
    answer.await.map_err(|_| ApiError::capture(BROKE_DOWN))
}

/// A call that is not over. When its task breaks down there is no record of it: then its trial must not
/// be taken for whole.
struct Unrecorded {
    trial: Option<Arc<Trial>>,
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        if let Some(trial) = &self.trial {
            tracing::error!(trial = %trial.route.trial, "{BROKE_DOWN}");
            trial.capture_failed(&Fault { message: BROKE_DOWN.to_owned(), is_disk_full: false });
        }
    }
}

impl Shared {
    /// Where the call is written: a trial's key alone decides, the master key's holder may say.
    fn destination(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        prepared: &Prepared,
    ) -> Result<Destination, ApiError> {
        let instance =
            text(headers, "x-instance-id").map(|id| id.chars().take(MAX_SESSION).collect::<String>());
        let of_trial = |trial: Arc<Trial>| Destination {
            session_id: instance.clone().unwrap_or_else(|| trial.route.task_id.clone()),
            route: Some(format!("{}/{}", trial.route.job, trial.route.trial)),
            log: Arc::clone(&trial.log),
            trial: Some(trial),
        };
        if let Caller::Trial(trial) = caller {
            return Ok(of_trial(trial));
        }
        let asked = match headers.get("x-trajectory-output-path") {
            Some(path) => Some(path.to_str().unwrap_or("\u{fffd}").to_owned()),
            None => prepared.output_path.clone(),
        };
        let Some(asked) = asked else {
            let session_id = instance.unwrap_or_else(|| DEFAULT_SESSION.to_owned());
            let path = route::unrouted(&session_id, &JobDir::new(self.jobs_dir.join(&self.job)));
            let log = self.means.capture.other(path);
            return Ok(Destination { session_id, route: None, log, trial: None });
        };
        let named = route::named(&asked, &self.jobs_dir).map_err(ApiError::bad_request)?;
        let open = self.trials.lock().unwrap_or_else(PoisonError::into_inner).get(&named.trial).cloned();
        if let Some(trial) = open.filter(|trial| trial.route.job == named.job) {
            return Ok(of_trial(trial));
        }
        let session_id = instance.unwrap_or_else(|| task_of(&named));
        let route = Some(format!("{}/{}", named.job, named.trial));
        Ok(Destination { session_id, route, log: self.means.capture.other(named.log), trial: None })
    }
}

/// The task of a trial that has no key here: what its `config.json` says, else the trial's name.
fn task_of(named: &route::Named) -> String {
    let folder = named.log.parent().and_then(std::path::Path::parent);
    let config = folder.and_then(|folder| std::fs::read(folder.join("config.json")).ok());
    let config: Value = config.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let task = config.pointer("/task/path").and_then(Value::as_str);
    let task = task.and_then(|path| std::path::Path::new(path).file_name()?.to_str());
    task.unwrap_or(&named.trial).to_owned()
}

async fn read_body(body: Body, most: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the request body is longer than {most} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Err(error) => Err(ApiError::bad_request(format!("the request body cannot be read: {error}"))),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|value| !value.is_empty())
}

fn json_response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn model_card(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "trajgen"})
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response<Body> {
    if shared.keyring.caller(&headers).is_none() {
        return ApiError::unauthorized().response(WireProtocol::OpenAi);
    }
    let list = json!({"object": "list", "data": [model_card(&shared.means.upstream.info().model)]});
    json_response(StatusCode::OK, Body::from(list.to_string()))
}

/// Any name is answered by the one model there is.
async fn model(
    State(shared): State<Arc<Shared>>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
) -> Response<Body> {
    if shared.keyring.caller(&headers).is_none() {
        return ApiError::unauthorized().response(WireProtocol::OpenAi);
    }
    json_response(StatusCode::OK, Body::from(model_card(&id).to_string()))
}

async fn alive() -> Response<Body> {
    json_response(StatusCode::OK, Body::from("{\"status\":\"healthy\"}"))
}

/// Asks the upstream, but not more often than now and then: nobody needs a key to ask.
async fn ready(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let mut known = shared.readiness.lock().await;
    let is_ready = match *known {
        Some((at, is_ready)) if at.elapsed() < READINESS => is_ready,
        _ => {
            let is_ready = shared.means.upstream.check().await.is_ok();
            *known = Some((Instant::now(), is_ready));
            is_ready
        }
    };
    drop(known);
    if is_ready {
        json_response(StatusCode::OK, Body::from("{\"status\":\"ready\"}"))
    } else {
        let body = Body::from("{\"status\":\"upstream not reachable\"}");
        json_response(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

async fn root() -> Response<Body> {
    json_response(StatusCode::OK, Body::from("{\"name\":\"trajgen\"}"))
}

/// What is not served, in the shape of whoever asks.
async fn unknown(method: Method, request: Request) -> Response<Body> {
    let path = request.uri().path();
    let (protocol, is_planned) = match path {
        _ if path.contains("/v1/messages") => (WireProtocol::Anthropic, true),
        "/v1/responses" | "/responses" => (WireProtocol::Responses, true),
        _ => (WireProtocol::OpenAi, false),
    };
    let error = if is_planned {
        let message = format!("{path} is not supported yet; use /v1/chat/completions");
        ApiError::new(StatusCode::NOT_IMPLEMENTED, message)
    } else {
        ApiError::new(StatusCode::NOT_FOUND, format!("there is no {method} {path}"))
    };
    error.response(protocol)
}
