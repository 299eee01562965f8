use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Dispatcher,
    capacity::Place,
    domains::{Admission, Visit},
    heir::Heir,
    lot::Lot,
};
use crate::{
    clock::Timestamp,
    contacts::{Contact, Lane},
    delivery::{Announcement, EmailAddress, Envelope, Letter, Outcome, Refusal, UnfitLetter},
    ids::ClaimToken,
    templates::Rendered,
};

/// How long a transactional message to a slow receiver waits at most before it is tried again.
const SOON: Duration = Duration::from_secs(10);
/// How long a hand-over that is under way may still take when the process stops.
const FAREWELL: Duration = Duration::from_secs(20);

/// What is written to whom.
#[derive(Debug)]
pub(super) struct Order {
    /// Its contact, as it was picked.
    pub contact: Contact,
    /// How the customer is addressed.
    pub to_name: String,
    /// Where it goes.
    pub to: EmailAddress,
    /// What it says.
    pub message: Rendered,
}

/// A letter whose intent is recorded.
#[derive(Debug)]
pub(super) struct Post {
    /// Its contact, as it was picked.
    pub contact: Contact,
    /// Where it goes.
    pub to: EmailAddress,
    /// As it goes onto the wire, or why nobody can get it.
    pub letter: Result<Vec<u8>, UnfitLetter>,
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Handed {
    /// The transport said so.
    Over(Outcome),
    /// The transport refused it for good, for this address.
    Refused(Refusal, EmailAddress),
    /// It was not begun.
    Back,
    /// It was not begun, because its receiver is slow: its turn comes at this moment.
    PutOff(Timestamp),
}

/// What a hand-over needs beside its order.
struct Errand {
    dispatcher: Arc<Dispatcher>,
    lane: Lane,
    token: ClaimToken,
    moment: Option<Instant>,
    stop: CancellationToken,
}

impl Dispatcher {
    /// Hands a letter over, the so manieth of its lot, when it is its turn and its moment has come.
    pub(super) fn hand_over(
        self: &Arc<Self>,
        lot: &Lot,
        place: usize,
        post: Post,
        stop: &CancellationToken,
    ) -> impl Future<Output = (Contact, Handed)> + Send + 'static {
        let errand = Errand {
            dispatcher: Arc::clone(self),
            lane: lot.lane,
            token: lot.token,
            moment: lot.moments.iter().map(|moments| moments.at(place)).max(),
            stop: stop.clone(),
        };
        async move {
            let handed = match errand.run(&post).await {
                Handed::Over(Outcome::Never(refusal)) => Handed::Refused(refusal, post.to),
                handed => handed,
            };
            (post.contact, handed)
        }
    }

    /// Composes what was ordered.
    pub(super) fn compose(&self, order: Order) -> Post {
        let letter = Letter {
            from: &self.of.from,
            to_name: &order.to_name,
            to: &order.to,
            subject: &order.message.subject,
            text: &order.message.text,
            html: &order.message.html,
            date: self.of.clock.now(),
            message_id: &self.message_id(order.contact.contact_id),
        };
        let letter = letter.compose();
        Post { contact: order.contact, to: order.to, letter }
    }
}

impl Errand {
    async fn run(self, post: &Post) -> Handed {
        let own = &self.dispatcher;
        let letter = match &post.letter {
            Ok(letter) => letter,
            Err(unfit) => return Handed::Over(Outcome::Never(Refusal::plain(unfit.to_string()))),
        };
        let (from, name) = (&own.of.from.address, post.contact.contact_id.to_string());
        let envelope = Envelope { name: &name, from, to: &post.to, letter };
        let waited = tokio::select! {
            waited = self.wait_for_turn(envelope) => waited,
            () = self.stop.cancelled() => return Handed::Back,
        };
        let (mut visit, Place { room, conversation }) = match waited {
            Ok(turn) => turn,
            Err(handed) => return handed,
        };
        // From here on it is begun; whoever lost the lease while it waited begins nothing.
        if !own.of.lease.holds(self.token) || own.of.breaker.rest().is_some() {
            return Handed::Back;
        }
        visit.begin();
        own.hands.begin(post.contact.contact_id);
        let heir = Heir::to(&own.width, &own.caution, room, conversation.is_some());
        let (outcome, conversation) = tokio::select! {
            done = own.of.transport.hand_over(envelope, conversation, || heir.name()) => done,
            never = heir.let_go_when_late() => never,
            () = self.overdue() => {
                (Outcome::Unknown { detail: "the process stopped before the answer came".to_owned() }, None)
            }
        };
        match &outcome {
            Outcome::Returned { detail } => own.of.breaker.came_back(detail),
            Outcome::Unknown { .. } => {}
            Outcome::Accepted | Outcome::Later(_) | Outcome::Never(_) => own.of.breaker.is_well(),
        }
        heir.inherit(conversation);
        match outcome {
            Outcome::Returned { .. } => Handed::Back,
            outcome => Handed::Over(outcome),
        }
    }

    async fn wait_for_turn(&self, envelope: Envelope<'_>) -> Result<(Visit, Place), Handed> {
        let own = &self.dispatcher;
        if let Some(moment) = self.moment {
            tokio::time::sleep_until(moment.into()).await;
        }
        let visit = match own.domains.visit(envelope.to.domain()).await {
            Admission::Go(visit) => visit,
            Admission::Later(wait) => {
                // What the customer waits for is asked about again soon, however many others wait for their turns.
                let wait = if self.lane == Lane::Transactional { wait.min(SOON) } else { wait };
                return Err(Handed::PutOff(own.of.clock.now() + wait));
            }
        };
        Ok((visit, own.width.enter(self.lane, Some(Announcement::of(envelope))).await))
    }

    async fn overdue(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    }
}
