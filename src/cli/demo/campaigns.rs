//! What the shop of the demo sends: five campaigns about three topics.

use tonic::{Status, transport::Channel};

use crate::{
    cli::starters::{self, Brand},
    rpc::proto::{
        self, ActivateCampaignRequest, Campaign, CreateCampaignRequest, CreateTemplateRequest, CreateTopicRequest,
        GetTemplateRequest, LocalizedText, PublishTemplateRequest, Template, Topic, Variant, campaign::Trigger,
        campaign_service_client::CampaignServiceClient, preference_service_client::PreferenceServiceClient,
        template_service_client::TemplateServiceClient,
    },
};

/// The campaign that asks a week after an order.
pub const CHECK_IN: &str = "check-in";
/// The campaign that thanks for the fifth order.
pub const THANK_YOU: &str = "thank-you";
/// The campaign that writes after two months of silence: its news to a half, its question to the others.
pub const WIN_BACK: &str = "win-back";
/// The campaign that comes every month.
pub const NEWSLETTER: &str = "newsletter";
/// The campaign that comes on birthdays.
pub const BIRTHDAY: &str = "birthday";
/// All of them, in the order of the table.
pub const CAMPAIGNS: [&str; 5] = [CHECK_IN, THANK_YOU, WIN_BACK, NEWSLETTER, BIRTHDAY];

/// The topic of what concerns orders.
pub const ORDERS: &str = "after-sales";
/// The topic of offers.
pub const OFFERS: &str = "offers";
/// The topic of the newsletter.
pub const NEWS: &str = "news";

/// What starts most of them.
pub const ORDER: &str = "order.placed";
/// Within how many days an order counts as brought about by a win-back.
pub const WINDOW_DAYS: i32 = 30;
/// At what hour the calendar sends, where customers live.
pub const MORNING: u32 = 9;
/// When newsletters and birthdays end: June 1998 is over everywhere.
pub const END_SECONDS: i64 = 899_294_400;

const QUESTION: &str = "win-back-question";
/// What the question says in its subject instead, by language.
const QUESTIONS: [(&str, &str); 5] = [
    ("", "Did we do something wrong?"),
    ("lv", "Vai mēs kaut ko izdarījām ne tā?"),
    ("lt", "Ar ką nors padarėme ne taip?"),
    ("da", "Har vi gjort noget forkert?"),
    ("ru", "Мы сделали что-то не так?"),
];

/// Topics, the starter templates and a second win-back in five languages, and the campaigns, which act from then on.
pub async fn set_up(channel: Channel) -> Result<(), Status> {
    let mut preferences = PreferenceServiceClient::new(channel.clone());
    for topic in [
        topic(ORDERS, "About your orders", proto::Purpose::Service, proto::topic::OptIn::None),
        topic(OFFERS, "Offers", proto::Purpose::Marketing, proto::topic::OptIn::Single),
        topic(NEWS, "Newsletter", proto::Purpose::Marketing, proto::topic::OptIn::Single),
    ] {
        preferences.create_topic(CreateTopicRequest { topic: Some(topic), ..Default::default() }).await?;
    }
    let brand = Brand::new("Vinyl", "https://vinyl.example/").map_err(Status::internal)?;
    starters::install(channel.clone(), &brand).await?;
    ask_instead(channel.clone()).await?;
    let mut campaigns = CampaignServiceClient::new(channel);
    for campaign in [check_in(), thank_you(), win_back(), newsletter(), birthday()] {
        let campaign_id = campaign.campaign_id.clone();
        let request = CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
        campaigns.create_campaign(request).await?;
        campaigns.activate_campaign(ActivateCampaignRequest { campaign_id, ..Default::default() }).await?;
    }
    Ok(())
}

fn topic(id: &str, name: &str, purpose: proto::Purpose, opt_in: proto::topic::OptIn) -> Topic {
    Topic {
        topic_id: id.to_owned(),
        names: vec![LocalizedText { locale: String::new(), text: name.to_owned() }],
        purpose: purpose.into(),
        opt_in: opt_in.into(),
        ..Topic::default()
    }
}

/// The win-back once more, with another subject.
async fn ask_instead(channel: Channel) -> Result<(), Status> {
    let mut templates = TemplateServiceClient::new(channel);
    let request = GetTemplateRequest { template_id: WIN_BACK.to_owned(), version: 0 };
    let found = templates.get_template(request).await?.into_inner().template.unwrap_or_default();
    let mut variants = found.variants;
    for variant in &mut variants {
        let question = QUESTIONS.iter().find(|(locale, _)| *locale == variant.locale);
        variant.subject = question.map_or("", |(_, subject)| subject).to_owned();
    }
    let template = Template {
        template_id: QUESTION.to_owned(),
        display_name: "After two months of silence, as a question".to_owned(),
        variants,
        sample_data: found.sample_data,
        ..Template::default()
    };
    templates.create_template(CreateTemplateRequest { template: Some(template), ..Default::default() }).await?;
    let request = PublishTemplateRequest { template_id: QUESTION.to_owned(), ..Default::default() };
    templates.publish_template(request).await?;
    Ok(())
}

/// A week after every order, at ten in the morning.
fn check_in() -> Campaign {
    Campaign {
        steps: vec![mail(calendar(7, "10:00"), CHECK_IN)],
        ..campaign(CHECK_IN, "Check-in a week after an order", ORDERS, on_order())
    }
}

/// The day after the fifth order, and after no other.
fn thank_you() -> Campaign {
    Campaign {
        audience_filter: format!("event_count(\"{ORDER}\", 3650) = 5"),
        reentry: reentry(proto::reentry::Mode::Once),
        steps: vec![mail(calendar(1, "16:00"), THANK_YOU)],
        ..campaign(THANK_YOU, "Thank-you for the fifth order", ORDERS, on_order())
    }
}

/// Sixty days after the last order, at six in the evening: an experiment.
fn win_back() -> Campaign {
    let variant =
        |id: &str, template: &str| Variant { variant_id: id.to_owned(), template_id: template.to_owned(), weight: 1 };
    let variants = vec![variant("news", WIN_BACK), variant("question", QUESTION)];
    let send = proto::SendAction { variants, ..Default::default() };
    let action = Some(proto::step::Action::Send(send));
    Campaign {
        reentry: reentry(proto::reentry::Mode::Restart),
        steps: vec![proto::Step { action, ..mail(calendar(60, "18:00"), "") }],
        goal: Some(proto::Goal { event_type: ORDER.to_owned(), window_days: WINDOW_DAYS, ..Default::default() }),
        ..campaign(WIN_BACK, "Win back after sixty days of silence", OFFERS, on_order())
    }
}

/// On the last day of every month, at nine where each subscriber lives.
fn newsletter() -> Campaign {
    let trigger = proto::RecurringTrigger {
        cron: format!("0 {MORNING} L * *"),
        zone: Some(proto::recurring_trigger::Zone::CustomerTimeZone(true)),
        ..Default::default()
    };
    Campaign {
        audience_filter: format!("consented(\"{NEWS}\", CHANNEL_EMAIL)"),
        steps: vec![mail(None, NEWSLETTER)],
        active_range: until_the_end(),
        ..campaign(NEWSLETTER, "Newsletter at the end of the month", NEWS, Trigger::Recurring(trigger))
    }
}

/// On birthdays, at nine where each customer lives.
fn birthday() -> Campaign {
    let trigger = proto::DateTrigger {
        attribute: "birthday".to_owned(),
        recurrence: proto::date_trigger::Recurrence::Yearly.into(),
        ..Default::default()
    };
    Campaign {
        steps: vec![mail(calendar(0, &format!("{MORNING:02}:00")), BIRTHDAY)],
        active_range: until_the_end(),
        ..campaign(BIRTHDAY, "Birthday greeting", OFFERS, Trigger::Date(trigger))
    }
}

fn campaign(id: &str, name: &str, topic: &str, trigger: Trigger) -> Campaign {
    Campaign {
        campaign_id: id.to_owned(),
        display_name: name.to_owned(),
        topic_id: topic.to_owned(),
        trigger: Some(trigger),
        ..Campaign::default()
    }
}

fn on_order() -> Trigger {
    Trigger::Event(proto::EventTrigger { event_type: ORDER.to_owned(), ..Default::default() })
}

fn reentry(mode: proto::reentry::Mode) -> Option<proto::Reentry> {
    Some(proto::Reentry { mode: mode.into(), cooldown_days: 0 })
}

fn calendar(days: i32, at: &str) -> Option<proto::Delay> {
    let calendar = proto::CalendarDelay { days, at: at.to_owned(), ..Default::default() };
    Some(proto::Delay { length: Some(proto::delay::Length::Calendar(calendar)), ..Default::default() })
}

fn mail(delay: Option<proto::Delay>, template: &str) -> proto::Step {
    let send = proto::SendAction { template_id: template.to_owned(), ..Default::default() };
    proto::Step {
        step_id: "mail".to_owned(),
        delay,
        action: Some(proto::step::Action::Send(send)),
        ..Default::default()
    }
}

fn until_the_end() -> Option<proto::TimeRange> {
    let end = prost_types::Timestamp { seconds: END_SECONDS, nanos: 0 };
    Some(proto::TimeRange { start_time: None, end_time: Some(end) })
}
