use chrono::TimeDelta;

use super::{Found, Inbound};
use crate::{
    clock::Timestamp,
    contacts::{self, Contact, DeliveryKind},
    customers,
    ids::ContactId,
    preferences::{self, DataUse},
    rpc::Fault,
};

/// Nobody reads and follows a message this soon after it was handed over; what checks mail does.
const TOO_SOON: TimeDelta = TimeDelta::seconds(60);
/// Nobody follows two links of a message within this time.
const AT_ONCE: TimeDelta = TimeDelta::seconds(2);
/// Parts of the names under which programs fetch what is in mail, in lower case: image proxies of mailbox providers, which fetch
/// whether or not anybody reads, link checkers, crawlers, and tools.
const MACHINES: &[&str] = &[
    "googleimageproxy",
    "ggpht.com",
    "yahoomailproxy",
    "bot",
    "crawl",
    "spider",
    "scan",
    "proofpoint",
    "barracuda",
    "mimecast",
    "trendmicro",
    "symantec",
    "urldefense",
    "safelinks",
    "headless",
    "phantomjs",
    "python",
    "curl",
    "wget",
    "java/",
    "go-http-client",
    "okhttp",
    "libwww",
    "axios",
    "node-fetch",
    "preview",
    "slurp",
    "facebookexternalhit",
    "whatsapp",
    "skypeuripreview",
];

/// A request for the picture or a link of a message.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Which message.
    pub contact_id: ContactId,
    /// The number of the link, and where it leads; none = the picture.
    pub link: Option<(u16, String)>,
    /// What the program that asks calls itself; empty = nothing.
    pub user_agent: String,
    /// It says that it fetches ahead of a reader.
    pub prefetch: bool,
}

impl Inbound {
    /// Records that a message was opened or a link followed, once for people and once for machines, if the customer agrees to that
    /// now: a withdrawal counts for messages that are sent already.
    pub async fn hit(&self, hit: Hit) -> Result<(), Fault> {
        let contact = contacts::Contacts::new(self.db.clone()).get(hit.contact_id).await?;
        let data_use = if hit.link.is_some() { DataUse::ClickTracking } else { DataUse::OpenTracking };
        let db = self.db.reader();
        let (said, customer) =
            tokio::try_join!(preferences::of(db, contact.customer_id), customers::find(db, contact.customer_id))?;
        let now = self.clock.now();
        let living = customer.is_some_and(|customer| customer.delete_time.is_none());
        if !living || !said.lets(&contact.topic_id, contact.channel, contact.purpose, data_use, now) {
            return Ok(());
        }
        let automated = is_machine(&hit, &contact, now) || self.is_burst(&hit, now).await?;
        let kind = if hit.link.is_some() { DeliveryKind::Clicked } else { DeliveryKind::Opened };
        let who = if automated { "machine" } else { "reader" };
        let number = hit.link.as_ref().map(|(number, _)| number.to_string()).unwrap_or_default();
        let url = hit.link.map(|(_, url)| url).unwrap_or_default();
        let found = Found {
            source: "rapport".to_owned(),
            source_event_id: format!("{kind} {} {who} {number}", hit.contact_id).trim_end().to_owned(),
            contact: Some(hit.contact_id),
            address: None,
            kind,
            weight: None,
            status_code: String::new(),
            detail: String::new(),
            url,
            automated,
            occur_time: Some(now),
        };
        self.report(&[found]).await.map(drop)
    }

    /// Whether another link of the message was followed a moment ago.
    async fn is_burst(&self, hit: &Hit, now: Timestamp) -> Result<bool, Fault> {
        let Some((_, url)) = &hit.link else { return Ok(false) };
        let others = contacts::clicked_since(self.db.reader(), hit.contact_id, now - AT_ONCE).await?;
        Ok(others.iter().any(|other| other != url))
    }
}

fn is_machine(hit: &Hit, contact: &Contact, now: Timestamp) -> bool {
    let name = hit.user_agent.to_lowercase();
    // Apple's proxy fetches every picture under this bare name.
    let bare = name.trim().is_empty() || name.trim() == "mozilla/5.0";
    let soon = contact.send_time.is_none_or(|sent| now < sent + TOO_SOON);
    hit.prefetch || bare || soon || MACHINES.iter().any(|machine| name.contains(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_by_what_they_call_themselves() {
        let reader = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";
        let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148";
        let proxy = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
        let machine = |agent: &str| {
            let name = agent.to_lowercase();
            MACHINES.iter().any(|machine| name.contains(machine))
        };
        assert!(!machine(reader) && !machine(phone));
        for agent in
            [proxy, "YahooMailProxy; https://help.yahoo.com/", "Barracuda Sentinel (EE)", "python-requests/2.31"]
        {
            assert!(machine(agent), "{agent}");
        }
    }
}
