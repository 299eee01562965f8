//! What the demo says at its end.

use std::{fmt::Write as _, io::Write as _, path::Path, time::Duration};

use tonic::transport::Channel;

use super::{
    DemoError,
    people::Person,
    purchases,
    story::{self, CHECK_IN, WIN_BACK},
};
use crate::rpc::proto::{
    BlockReason, CampaignStats, GetCampaignStatsRequest, ListContactsRequest, block::Effect,
    campaign_service_client::CampaignServiceClient, contact, contact_service_client::ContactServiceClient,
};

/// Prints the table, three sample messages and lines to go on with.
pub async fn print(channel: &Channel, folder: &Path, took: Duration) -> Result<(), DemoError> {
    let mut text = String::new();
    let stats = [(CHECK_IN, stats(channel, CHECK_IN).await?), (WIN_BACK, stats(channel, WIN_BACK).await?)];
    let planned: i64 = stats.iter().map(|(_, stats)| stats.audience).sum();
    let _ = writeln!(
        text,
        "\nEighteen months in {:.0} seconds: 6,919 orders of 2,357 customers, {planned} contacts, {:.0} a second.\n",
        took.as_secs_f64(),
        f64::from(i32::try_from(planned).unwrap_or(i32::MAX)) / took.as_secs_f64()
    );
    table(&mut text, &stats)?;
    samples(&mut text, channel, folder).await?;
    go_on(&mut text, folder);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn stats(channel: &Channel, campaign_id: &'static str) -> Result<CampaignStats, DemoError> {
    let request = GetCampaignStatsRequest { campaign_id: campaign_id.to_owned(), ..GetCampaignStatsRequest::default() };
    let answer = CampaignServiceClient::new(channel.clone()).get_campaign_stats(request).await?;
    Ok(answer.into_inner().stats.unwrap_or_default())
}

fn table(text: &mut String, stats: &[(&'static str, CampaignStats); 2]) -> Result<(), DemoError> {
    let [(_, first), (_, second)] = stats;
    let _ = writeln!(text, "  {:<24} {CHECK_IN:>10} {WIN_BACK:>10} {:>10}", "", "together");
    let mut row = |name: &str, count: &dyn Fn(&CampaignStats) -> i64| {
        let (a, b) = (count(first), count(second));
        let _ = writeln!(text, "  {name:<24} {a:>10} {b:>10} {:>10}", a + b);
    };
    row("planned", &|stats| stats.audience);
    row("sent", &|stats| stats.sent);
    row("suppressed", &|stats| stats.suppressed);
    for (reason, name) in REASONS {
        if blocked(first, reason, Effect::Suppress) + blocked(second, reason, Effect::Suppress) > 0 {
            row(name, &|stats| blocked(stats, reason, Effect::Suppress));
        }
    }
    row("canceled", &|stats| stats.canceled);
    for (reason, name) in REASONS {
        if blocked(first, reason, Effect::Cancel) + blocked(second, reason, Effect::Cancel) > 0 {
            row(name, &|stats| blocked(stats, reason, Effect::Cancel));
        }
    }
    row("expired", &|stats| stats.expired);
    row("failed", &|stats| stats.failed);
    row("in doubt", &|stats| stats.unknown_outcome);
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

/// Three messages in three languages.
async fn samples(text: &mut String, channel: &Channel, folder: &Path) -> Result<(), DemoError> {
    let _ = writeln!(text, "\nThree of the messages:");
    let mut contacts = ContactServiceClient::new(channel.clone());
    let people =
        purchases::all().ok_or(DemoError::Purchases)?.into_iter().map(|purchase| Person::new(purchase.customer));
    let people: Vec<Person> = people.collect();
    for (locale, campaign_id) in [("lv", CHECK_IN), ("ru", WIN_BACK), ("da", CHECK_IN)] {
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
  grpcurl -plaintext -d '{{"customer":{{"externalId":"cdnow-00004"}}}}' 127.0.0.1:50051 rapport.v1.CustomerService/GetCustomer
  grpcurl -plaintext -d '{{"campaignAndCustomer":{{"campaignId":"{CHECK_IN}","customer":{{"externalId":"cdnow-00004"}}}}}}' 127.0.0.1:50051 rapport.v1.ContactService/ExplainContact
"#
    );
}
