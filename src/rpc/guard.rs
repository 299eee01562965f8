//! Around every call: a limit on how many run at once, a deadline of the service's own, panics kept from taking the connection
//! with them, a span for the log, and a count.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{Reason, labels, status};
use crate::metrics::Metrics;

const MOST_AT_ONCE: usize = 512;

/// Guards the methods of this service; health and reflection pass untouched, as they stream.
#[derive(Debug, Clone)]
pub struct GuardLayer {
    running: Arc<Semaphore>,
    metrics: Metrics,
}

impl GuardLayer {
    /// Guards, and counts what it guards.
    pub fn new(metrics: Metrics) -> Self {
        Self { running: Arc::new(Semaphore::new(MOST_AT_ONCE)), metrics }
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, running: Arc::clone(&self.running), metrics: self.metrics.clone() }
    }
}

/// See [`GuardLayer`].
#[derive(Debug, Clone)]
pub struct Guard<S> {
    inner: S,
    running: Arc<Semaphore>,
    metrics: Metrics,
}

impl<S> Service<Request<Body>> for Guard<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(method) = request.uri().path().strip_prefix("/rapport.v1.").map(labels::method) else {
            return Box::pin(self.inner.call(request));
        };
        let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() else {
            let refusal = status::plain(Reason::Overloaded, "too many calls at once");
            self.metrics.called(method, labels::code(refusal.code()), 0.0);
            return Box::pin(std::future::ready(Ok(refusal.into_http())));
        };
        let request_id = request.headers().get("x-request-id").cloned();
        let span =
            tracing::info_span!("call", method, request_id = request_id.as_ref().and_then(|id| id.to_str().ok()));
        let limit = limit(method);
        let (metrics, began) = (self.metrics.clone(), Instant::now());
        let call = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let guarded = async move {
            let _permit = permit;
            let mut response = match tokio::time::timeout(limit, call).await {
                Ok(Ok(response)) => explained(response?),
                Ok(Err(panic)) => status::internal(&sentence(panic.as_ref())).into_http(),
                Err(_) => overdue(limit).into_http(),
            };
            let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
            metrics.called(method, labels::code(code), began.elapsed().as_secs_f64());
            echo(&mut response, request_id);
            Ok(response)
        };
        Box::pin(guarded.instrument(span))
    }
}

/// Reads take 5 s, changes 10 s, what looks at much 30 s, a job that is run by hand and a rehearsal two minutes.
fn limit(method: &str) -> Duration {
    let name = method.rsplit('/').next().unwrap_or_default();
    let seconds = match name {
        "RunJob" | "RehearseCampaign" => 120,
        _ if name.starts_with("Preview") || name.starts_with("Batch") => 30,
        _ if ["Get", "List", "Check", "Explain"].iter().any(|read| name.starts_with(read)) => 5,
        _ => 10,
    };
    Duration::from_secs(seconds)
}

/// Gives the errors that arise before a method is reached (a message that does not decode or is too large, a deadline of the
/// caller's own) the details that all others have.
fn explained(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.details().is_empty()) else {
        return response;
    };
    let wrong = match status.code() {
        Code::Internal if status.message().contains("decode") => "the message does not decode",
        Code::OutOfRange | Code::ResourceExhausted => "the message is larger than the 4 MiB that a request may have",
        Code::Cancelled if status.message().contains("Timeout") => {
            return status::plain(Reason::ServerDeadline, "the deadline that the call came with passed").into_http();
        }
        _ => return response,
    };
    status::plain(Reason::InvalidFields, wrong).into_http()
}

fn overdue(limit: Duration) -> Status {
    let message = format!("the service's own limit of {} s for this method passed", limit.as_secs());
    status::plain(Reason::ServerDeadline, &message)
}

fn sentence(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}

fn echo(response: &mut Response<Body>, request_id: Option<HeaderValue>) {
    if let Some(request_id) = request_id {
        response.headers_mut().insert("x-request-id", request_id);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::service_fn;

    use super::*;

    fn request() -> Request<Body> {
        let request = Request::builder().uri("/rapport.v1.CustomerService/GetCustomer").header("x-request-id", "r-1");
        request.body(Body::empty()).unwrap()
    }

    fn grpc_status(response: &Response<Body>) -> &str {
        response.headers().get("grpc-status").and_then(|status| status.to_str().ok()).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_at_the_services_own_deadline() {
        let hangs = service_fn(|_| std::future::pending::<Result<Response<Body>, Infallible>>());
        let response = GuardLayer::new(Metrics::default()).layer(hangs).call(request()).await.unwrap();
        assert_eq!(grpc_status(&response), "4");
        assert_eq!(response.headers()["x-request-id"], "r-1");
    }

    #[tokio::test]
    async fn a_panic_ends_the_call_and_nothing_else() {
        let panics = service_fn(|_: Request<Body>| async { panic!("boom") as Result<Response<Body>, Infallible> });
        let response = GuardLayer::new(Metrics::default()).layer(panics).call(request()).await.unwrap();
        assert_eq!(grpc_status(&response), "13");
    }

    #[tokio::test]
    async fn too_many_calls_at_once_are_refused_at_the_door() {
        let hangs = service_fn(|_| std::future::pending::<Result<Response<Body>, Infallible>>());
        let mut guard = GuardLayer::new(Metrics::default()).layer(hangs);
        let running: Vec<_> = (0..MOST_AT_ONCE).map(|_| guard.call(request())).collect();
        let response = guard.call(request()).await.unwrap();
        assert_eq!(grpc_status(&response), "8");
        drop(running);
    }
}
