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
    delivery::{Announcement, EmailAddress, Envelope, Outcome, Refusal, UnfitLetter},
    ids::{ClaimToken, ContactId},
    senders::Sender,
};

/// How long a transactional message to a slow receiver waits at most before it is tried again.
const SOON: Duration = Duration::from_secs(10);
/// How long a hand-over that is under way may still take when the process stops.
const FAREWELL: Duration = Duration::from_secs(20);

/// A letter whose intent is recorded.
#[derive(Debug)]
pub(super) struct Post {
    /// Its contact, as it was picked.
    pub contact: Contact,
    /// Who sends it.
    pub sender: Arc<Sender>,
    /// Where it bounces to.
    pub from: EmailAddress,
    /// Where it goes.
    pub to: EmailAddress,
    /// As it goes onto the wire, but not signed yet; or why nobody can get it.
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
            let Post { contact, sender, from, to, letter } = post;
            let signed = match letter {
                Ok(letter) => errand.dispatcher.sign(&sender, letter).await,
                unfit => unfit,
            };
            let handed = match signed {
                Ok(letter) => {
                    let name = contact.contact_id.to_string();
                    errand
                        .run(contact.contact_id, Envelope { name: &name, from: &from, to: &to, letter: &letter })
                        .await
                }
                Err(unfit) => Handed::Over(Outcome::Never(Refusal::plain(unfit.to_string()))),
            };
            let handed = match handed {
                Handed::Over(Outcome::Never(refusal)) => Handed::Refused(refusal, to),
                handed => handed,
            };
            (contact, handed)
        }
    }
}

impl Errand {
    async fn run(self, contact_id: ContactId, envelope: Envelope<'_>) -> Handed {
        let own = &self.dispatcher;
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
        own.hands.begin(contact_id);
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
