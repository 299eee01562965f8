use serde_json::Map;

use super::{
    Rehearsal,
    looks::Looks,
    stage::Stage,
    timeline::{Happening, Timeline},
};
use crate::{
    campaigns::{Campaigns, Plan},
    clock::Timestamp,
    contacts::{self, Contact, ContactState},
    customers::CustomerKey,
    database::{self, StoreError},
    delivery::Channel,
    ids::{CampaignId, TemplateId},
    intake::NewEvent,
    preferences,
    rpc::{Fault, Reason},
    templates::{Content, NewTemplate, Templates, Variant},
};

/// Plays a timeline through a campaign that is active from the start on, up to the end.
pub(super) async fn play(
    stage: &Stage,
    mut timeline: Timeline,
    of: &Rehearsal,
    id: &CampaignId,
    (plan, looks): (Plan, &Looks),
) -> Result<(), Fault> {
    let others = set_up_templates(stage, &plan).await?;
    // What was said before is only remembered.
    while let Some(time) = timeline.next_time().filter(|time| *time < of.start) {
        stage.hand.advance_to(time);
        while let Some(what) = timeline.next_until(time) {
            happen(stage, what, &others).await?;
        }
    }
    stage.hand.advance_to(of.start);
    let campaigns = Campaigns::new(stage.db.clone(), stage.clock.clone(), std::sync::Arc::default());
    campaigns.create(Some(id.clone()), plan, None, false).await?;
    campaigns.activate(id, "", false).await?;

    let mut due = catch_up(stage).await?;
    loop {
        let next = timeline.next_time().into_iter().chain(due).min().map_or(of.end, |next| next.min(of.end));
        let next = looks.next(stage, next).await?.unwrap_or(next);
        if next >= of.end {
            return Ok(());
        }
        stage.hand.advance_to(next);
        while let Some(what) = timeline.next_until(next) {
            happen(stage, what, &others).await?;
        }
        looks.look(stage).await?;
        due = catch_up(stage).await?;
    }
}

/// Has everything done that is due by now; answers when there is something to do again.
async fn catch_up(stage: &Stage) -> Result<Option<Timestamp>, StoreError> {
    let runs = || stage.workers.iter().map(|worker| worker.report().run_count).sum::<i64>();
    loop {
        let (before, mut next) = (runs(), None);
        for worker in &stage.workers {
            next = worker.catch_up().await?.into_iter().chain(next).min();
        }
        // One may have given another something to do.
        if runs() == before {
            return Ok(next);
        }
    }
}

async fn happen(stage: &Stage, what: Happening, others: &TemplateId) -> Result<(), Fault> {
    match what {
        Happening::Occurred(event) => {
            let new = NewEvent { customer: CustomerKey::Id(event.customer_id), body: event.body };
            match stage.intake.record_event(&new, false, false).await {
                // It was recorded before the customer was deleted, at the same moment.
                Err(Fault::Refused(refusal)) if refusal.reason == Reason::CustomerDeleted => Ok(()),
                recorded => recorded.map(drop),
            }
        }
        Happening::Said(record) => stage.intake.say_again(&record).await.map(drop),
        Happening::Came(customer) => stage.intake.come_again(customer).await,
        Happening::Deleted(customer) => stage.intake.delete_customer(customer, "").await.map(drop),
        Happening::Suppressed(one) => {
            let tx = stage.db.begin_write().await?;
            preferences::take_over_suppression(&tx, &one, stage.clock.now()).await?;
            Ok(database::commit(tx).await?)
        }
        Happening::Wrote(contact) => {
            let tx = stage.db.begin_write().await?;
            contacts::insert(&tx, &[again(*contact, others, stage.clock.now())]).await?;
            database::commit(tx).await?;
            stage.workers.iter().for_each(|worker| worker.bell().ring());
            Ok(())
        }
    }
}

/// What was sent to a customer, to be decided once more now: it says nothing, but takes a place below the caps.
fn again(sent: Contact, template_id: &TemplateId, now: Timestamp) -> Contact {
    Contact {
        template_id: template_id.clone(),
        template_version: None,
        address_id: None,
        data: Map::new(),
        dedupe_key: None,
        due_time: now,
        due_local: None,
        expire_time: now + contacts::PATIENCE,
        state: ContactState::Scheduled,
        block: None,
        attempt_count: 0,
        send_time: None,
        delivery: None,
        create_time: now,
        update_time: now,
        revision: 1,
        ..sent
    }
}

/// Publishes the drafts of a plan; answers the template of what others sent.
async fn set_up_templates(stage: &Stage, plan: &Plan) -> Result<TemplateId, Fault> {
    let templates = Templates::new(stage.db.clone(), stage.clock.clone());
    for id in plan.template_ids() {
        match templates.publish(&id, "").await {
            Err(Fault::Refused(refusal)) if refusal.reason == Reason::TemplateNotChanged => {}
            published => drop(published?),
        }
    }
    let id = TemplateId::generate();
    let variant = Variant { subject: "…".to_owned(), text_body: "…".to_owned(), ..Variant::default() };
    let new = NewTemplate {
        template_id: Some(id.clone()),
        display_name: String::new(),
        channel: Channel::Email,
        partial: false,
        content: Content { variants: vec![variant], ..Content::default() },
    };
    templates.create(new, None, false).await?;
    templates.publish(&id, "").await?;
    Ok(id)
}
