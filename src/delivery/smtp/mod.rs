//! Our own SMTP client (RFC 5321), because this is the hot path: where the server offers PIPELINING the envelope goes in one
//! write, and where another letter waits already, in the same one as the letter before it (RFC 2920); connections are used again.
//!
//! What became of a letter follows from how far it got:
//!
//! | it ended | outcome |
//! | --- | --- |
//! | before the server had answered to MAIL, or with a reply about the whole server or our account (`blame`) | `Returned` |
//! | with a reply about the letter or its recipient | `Later`, `Never` |
//! | without a reply, between MAIL and the final dot | `Later`: it may be this letter that breaks the server |
//! | without a reply, once the final dot may have left | `Unknown` |

#[cfg(test)]
mod announced;
mod blame;
mod body;
mod connection;
#[cfg(test)]
mod fake;
mod hand_over;
mod offers;
mod reply;
#[cfg(test)]
mod stories;
mod tls;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

pub use self::tls::NoTls;
use self::{body::Needs, connection::Connection, tls::Tls};
use super::{EmailAddress, Envelope, Outcome};
use crate::config::{Security, SmtpServer};

/// How long a server may take. RFC 5321 (4.5.3.2) allows minutes for each step; as a place on the wire and a lease are held
/// meanwhile, a server that needs them is treated as one that does not answer.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Finding the host and connecting, over all its addresses.
    connect: Duration,
    /// The TLS handshake.
    tls: Duration,
    /// The greeting, and each command with its reply.
    command: Duration,
    /// All that comes before the final dot, the letter included: less than the 25 s for which a lease surely holds.
    before_dot: Duration,
    /// The reply to the final dot. Giving up here leaves a doubt and not a retry, so it may take longer; the ten minutes of
    /// the RFC would be longer than anybody waits for a process to stop.
    after_dot: Duration,
    /// How long a connection is kept without use; servers close theirs after five minutes (4.5.3.2.7), many sooner.
    idle: Duration,
}

impl Limits {
    const USUAL: Self = Self {
        connect: Duration::from_secs(5),
        tls: Duration::from_secs(5),
        command: Duration::from_secs(10),
        before_dot: Duration::from_secs(20),
        after_dot: Duration::from_secs(120),
        idle: Duration::from_secs(30),
    };
}

/// Hands letters over to one server.
#[derive(Clone)]
pub struct Smtp(Arc<Pool>);

/// What a server is told of a letter before it gets it.
#[derive(Debug, Clone)]
pub struct Announcement {
    from: EmailAddress,
    to: EmailAddress,
    needs: Needs,
}

impl Announcement {
    /// Of this letter.
    pub fn of(envelope: Envelope<'_>) -> Self {
        Self { from: envelope.from.clone(), to: envelope.to.clone(), needs: Needs::of(envelope.letter) }
    }
}

/// A connection on which a letter was announced, and the server's answers have not been heard; nobody else can use it.
pub struct Conversation(Connection);

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation")
    }
}

struct Server {
    settings: SmtpServer,
    tls: Option<Tls>,
    limits: Limits,
}

/// How many hand-overs run at once is the caller's choice, and so is how many connections there are.
struct Pool {
    server: Server,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Since when; the longest idle first.
    connections: VecDeque<(Instant, Connection)>,
    /// Somebody closes what is idle for too long.
    is_watched: bool,
}

impl Smtp {
    /// Prepares for this server; connects to nobody yet.
    pub fn open(settings: &SmtpServer) -> Result<Self, NoTls> {
        let tls = match settings.security {
            Security::None => None,
            Security::StartTls | Security::Implicit => Some(Tls::of_system(&settings.host)?),
        };
        Ok(Self::new(Server { settings: settings.clone(), tls, limits: Limits::USUAL }))
    }

    fn new(server: Server) -> Self {
        Self(Arc::new(Pool { server, idle: Mutex::default() }))
    }

    /// Hands one letter over: where it was announced, else on the connection that was used last or on a new one.
    pub async fn hand_over(
        &self,
        envelope: Envelope<'_>,
        announced: Option<Conversation>,
        next: impl FnOnce() -> Option<Announcement> + Send,
    ) -> (Outcome, Option<Conversation>) {
        let until = Instant::now() + self.0.server.limits.before_dot;
        let mut next = Some(next);
        let used = announced.map(|Conversation(connection)| connection).or_else(|| self.0.take());
        if let Some(mut connection) = used {
            // A server may close an idle connection at any time: that is nobody's fault, and worth one more connection.
            if let Ok(outcome) = connection.hand_over(envelope, until, &mut next).await {
                return (outcome, self.0.go_on(connection));
            }
        }
        let mut connection = match Connection::open(&self.0.server, until).await {
            Ok(connection) => connection,
            Err(none) => return (Outcome::Returned { detail: none.to_string() }, None),
        };
        match connection.hand_over(envelope, until, &mut next).await {
            Ok(outcome) => (outcome, self.0.go_on(connection)),
            Err(unheard) => (Outcome::Returned { detail: unheard.to_string() }, None),
        }
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Smtp").field(&self.0.server.settings).finish()
    }
}

impl Pool {
    fn take(&self) -> Option<Connection> {
        self.idle().connections.pop_back().map(|(_, connection)| connection)
    }

    /// Keeps a connection for whoever comes, unless a letter was announced on it.
    fn go_on(self: &Arc<Self>, connection: Connection) -> Option<Conversation> {
        if connection.is_announced {
            return connection.is_sound.then_some(Conversation(connection));
        }
        self.keep(connection);
        None
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        if !connection.is_reusable() {
            return;
        }
        let mut idle = self.idle();
        idle.connections.push_back((Instant::now(), connection));
        if !idle.is_watched {
            idle.is_watched = true;
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Takes out what is idle for too long; answers when to come again, if there is a reason to.
    fn retire(&self) -> (Vec<Connection>, Option<Instant>) {
        let mut idle = self.idle();
        let limit = self.server.limits.idle;
        let old = idle.connections.iter().take_while(|(since, _)| since.elapsed() >= limit).count();
        let retired = idle.connections.drain(..old).map(|(_, connection)| connection).collect();
        let next = idle.connections.front().map(|(since, _)| *since + limit);
        idle.is_watched = next.is_some();
        (retired, next)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that are idle for too long, until there is none or the pool is gone.
async fn watch(pool: Weak<Pool>) {
    loop {
        let Some((retired, next)) = pool.upgrade().map(|pool| pool.retire()) else { return };
        for connection in retired {
            connection.quit().await;
        }
        let Some(next) = next else { return };
        tokio::time::sleep_until(next).await;
    }
}
