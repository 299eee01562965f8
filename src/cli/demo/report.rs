//! What the demo says at its end.

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
    path::Path,
    time::Duration,
};

use tonic::transport::Channel;

use super::{
    DemoError,
    campaigns::{BIRTHDAY, CAMPAIGNS, CHECK_IN, NEWSLETTER, THANK_YOU, WIN_BACK, WINDOW_DAYS},
    people::Person,
    purchases, story,
};
use crate::rpc::proto::{
    BlockReason, CampaignStats, GetCampaignStatsRequest, ListContactsRequest, VariantStats, block::Effect,
    campaign_service_client::CampaignServiceClient, contact, contact_service_client::ContactServiceClient,
};

/// Prints what became of everything, a message of each campaign and lines to go on with.
pub async fn print(channel: &Channel, folder: &Path, took: Duration) -> Result<(), DemoError> {
    let mut stats = Vec::new();
    for campaign in CAMPAIGNS {
        stats.push((campaign, stats_of(channel, campaign).await?));
    }
    let sent: i64 = stats.iter().map(|(_, stats)| stats.sent).sum();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\nEighteen months in {:.0} seconds: 6,919 orders of 2,357 customers, {sent} messages, {:.0} a second.\n",
        took.as_secs_f64(),
        f64::from(i32::try_from(sent).unwrap_or(i32::MAX)) / took.as_secs_f64()
    );
    table(&mut text, &stats)?;
    for (_, stats) in stats.iter().filter(|(campaign, _)| *campaign == WIN_BACK) {
        experiment(&mut text, &stats.variants);
    }
    samples(&mut text, channel, folder).await?;
    go_on(&mut text, folder);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn stats_of(channel: &Channel, campaign_id: &str) -> Result<CampaignStats, DemoError> {
    let request = GetCampaignStatsRequest { campaign_id: campaign_id.to_owned(), ..GetCampaignStatsRequest::default() };
    let answer = CampaignServiceClient::new(channel.clone()).get_campaign_stats(request).await?;
    Ok(answer.into_inner().stats.unwrap_or_default())
}

fn table(text: &mut String, stats: &[(&'static str, CampaignStats)]) -> Result<(), DemoError> {
    let names = stats.iter().map(|(campaign, _)| *campaign).chain(["together"]);
    line(text, "", names);
    row(text, stats, "planned", |stats| stats.audience);
    row(text, stats, "sent", |stats| stats.sent);
    row(text, stats, "suppressed", |stats| stats.suppressed);
    reasons(text, stats, Effect::Suppress);
    row(text, stats, "canceled", |stats| stats.canceled);
    reasons(text, stats, Effect::Cancel);
    row(text, stats, "expired", |stats| stats.expired);
    row(text, stats, "failed", |stats| stats.failed);
    row(text, stats, "in doubt", |stats| stats.unknown_outcome);
    for (campaign, stats) in stats {
        let accounted =
            stats.sent + stats.suppressed + stats.canceled + stats.expired + stats.failed + stats.unknown_outcome;
        if accounted != stats.audience {
            return Err(DemoError::Unaccounted { campaign, planned: stats.audience, accounted });
        }
    }
    let _ = writeln!(text, "\n  planned = sent + suppressed + canceled + expired + failed + in doubt: it adds up.");
    Ok(())
}

fn row(text: &mut String, stats: &[(&'static str, CampaignStats)], name: &str, count: impl Fn(&CampaignStats) -> i64) {
    let counts: Vec<i64> = stats.iter().map(|(_, stats)| count(stats)).collect();
    let together = counts.iter().sum();
    line(text, name, counts.into_iter().chain([together]));
}

fn line<T: Display>(text: &mut String, name: &str, cells: impl Iterator<Item = T>) {
    let cells: String = cells.map(|cell| format!(" {cell:>10}")).collect();
    let _ = writeln!(text, "  {name:<22}{cells}");
}

/// What stood in the way of those that ended in one way.
fn reasons(text: &mut String, stats: &[(&'static str, CampaignStats)], effect: Effect) {
    for (reason, name) in REASONS {
        if stats.iter().any(|(_, stats)| blocked(stats, reason, effect) > 0) {
            row(text, stats, name, |stats| blocked(stats, reason, effect));
        }
    }
}

/// Which of the two win-backs brought more people back, with what can be known from so many.
fn experiment(text: &mut String, variants: &[VariantStats]) {
    let _ = writeln!(
        text,
        "\nTwo subjects of the win-back, drawn by lot. How many ordered within {WINDOW_DAYS} days?\n\n  \
         {:<22} {:>10} {:>10} {:>10}   95 % interval",
        "", "sent", "ordered", "share"
    );
    for one in variants {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let _ = writeln!(
            text,
            "  {:<22} {:>10} {:>10} {:>10}   {} to {}",
            one.variant_id,
            one.sent,
            one.converted,
            percent(one.conversion),
            percent(one.conversion_low),
            percent(one.conversion_high)
        );
    }
    let low = variants.iter().map(|one| one.conversion_low).fold(0.0, f64::max);
    let high = variants.iter().map(|one| one.conversion_high).fold(1.0, f64::min);
    let verdict = if low <= high {
        "The intervals overlap: neither is known to be better. These orders are real and knew of no letter."
    } else {
        "The intervals do not overlap, and yet these orders are real and knew of no letter: chance can do that."
    };
    let _ = writeln!(text, "\n  {verdict}");
}

/// How many contacts a reason ended in one way.
fn blocked(stats: &CampaignStats, reason: BlockReason, effect: Effect) -> i64 {
    let blocks = stats.blocks.iter().filter(|block| block.reason() == reason && block.effect() == effect);
    blocks.map(|block| block.count).sum()
}

/// What stands in the way of a contact, as the table calls it.
const REASONS: [(BlockReason, &str); 6] = [
    (BlockReason::NoConsent, "  never agreed"),
    (BlockReason::OptedOut, "  opted out"),
    (BlockReason::Objected, "  objected, or silent"),
    (BlockReason::Exited, "  bought again in time"),
    (BlockReason::NoAddress, "  no address"),
    (BlockReason::TemplateError, "  template error"),
];

/// A message of each campaign, each in another language.
async fn samples(text: &mut String, channel: &Channel, folder: &Path) -> Result<(), DemoError> {
    let _ = writeln!(text, "\nSome of the messages:");
    let mut contacts = ContactServiceClient::new(channel.clone());
    let people =
        purchases::all().ok_or(DemoError::Purchases)?.into_iter().map(|purchase| Person::new(purchase.customer));
    let people: Vec<Person> = people.collect();
    for (locale, campaign_id) in
        [("lv", CHECK_IN), ("en", THANK_YOU), ("ru", WIN_BACK), ("da", NEWSLETTER), ("lt", BIRTHDAY)]
    {
        for person in people.iter().filter(|person| person.locale == locale) {
            let request = ListContactsRequest {
                customer: story::by_external_id(person.external_id()),
                campaign_id: campaign_id.to_owned(),
                states: vec![contact::State::Sent.into()],
                ..ListContactsRequest::default()
            };
            let sent = contacts.list_contacts(request).await?.into_inner().contacts;
            if let Some(contact) = sent.first() {
                let path = folder.join("outbox").join(format!("{}.eml", contact.contact_id));
                let _ = writeln!(text, "  {} ({campaign_id}, {locale})", path.display());
                break;
            }
        }
    }
    Ok(())
}

/// Lines to go on with, which work as they are printed.
fn go_on(text: &mut String, folder: &Path) {
    let folder = folder.display();
    let _ = write!(
        text,
        r#"
Go on with it:
  cargo run -- serve --database-url sqlite://{folder}/rapport.db --mail-url file:{folder}/outbox
and, in another terminal:
  grpcurl -plaintext 127.0.0.1:50051 list
  grpcurl -plaintext 127.0.0.1:50051 rapport.v1.AdminService/GetStatus
  grpcurl -plaintext -d '{{"campaignId":"{WIN_BACK}"}}' 127.0.0.1:50051 rapport.v1.CampaignService/GetCampaignStats
  grpcurl -plaintext -d '{{"campaignId":"{NEWSLETTER}"}}' 127.0.0.1:50051 rapport.v1.CampaignService/ListCampaignRuns
  grpcurl -plaintext -d '{{"campaignId":"{CHECK_IN}","range":{{"startTime":"1998-03-01T00:00:00Z","endTime":"1998-04-01T00:00:00Z"}}}}' 127.0.0.1:50051 rapport.v1.CampaignService/RehearseCampaign
  grpcurl -plaintext -d '{{"customer":{{"externalId":"cdnow-00004"}}}}' 127.0.0.1:50051 rapport.v1.CustomerService/GetCustomer
  grpcurl -plaintext -d '{{"campaignAndCustomer":{{"campaignId":"{CHECK_IN}","customer":{{"externalId":"cdnow-00004"}}}}}}' 127.0.0.1:50051 rapport.v1.ContactService/ExplainContact
"#
    );
}
