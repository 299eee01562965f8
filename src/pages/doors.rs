//! The doors to the pages: anybody may come, and nobody can stand in them for ever. Connections that wait and say nothing would
//! take the places of the API, the mail and the database.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many are inside at once; the others wait outside, and cost nothing.
const MOST: usize = 256;
/// How long somebody may take to say what they want.
const ASKING: Duration = Duration::from_secs(10);
/// How long a connection lasts, whatever goes on in it.
const LONGEST: Duration = Duration::from_secs(60);
/// How long what is under way may take at the end.
const LAST: Duration = Duration::from_secs(2);
/// How long nobody is let in after that failed: there may be no room for one more file.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets everybody in until `stop` is cancelled, and waits for those who are inside then.
pub async fn open(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let (places, inside) = (Arc::new(Semaphore::new(MOST)), TaskTracker::new());
    loop {
        let come = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, come) = tokio::select! {
            come = come => come,
            () = stop.cancelled() => break,
        };
        let stream = match come {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "nobody can be let in");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ASKING)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        let stop = stop.clone();
        inside.spawn(async move {
            let _place = place;
            let mut connection = pin!(connection);
            tokio::select! {
                _ = tokio::time::timeout(LONGEST, connection.as_mut()) => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(LAST, connection).await;
                }
            }
        });
    }
    inside.close();
    inside.wait().await;
}
