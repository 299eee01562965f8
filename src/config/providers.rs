use super::WrongSetting;

/// The shortest password that is worth asking for.
const SHORTEST: usize = 16;

/// Providers whose notifications are taken; none of them unless it is set. Not printable, because it holds a secret.
#[derive(Clone, Default)]
pub struct Providers {
    /// The ARN of the SNS topic to which Amazon SES publishes; another topic is refused.
    pub ses_topic: Option<String>,
    /// Who Postmark says it is: "USER:PASSWORD".
    pub postmark_secret: Option<String>,
}

impl Providers {
    /// Judges what was set.
    pub fn from_settings(ses_topic: Option<&str>, postmark_secret: Option<&str>) -> Result<Self, WrongSetting> {
        let ses_topic = ses_topic.map(parse_topic).transpose()?;
        let postmark_secret = postmark_secret.map(parse_secret).transpose()?;
        Ok(Self { ses_topic, postmark_secret })
    }
}

fn parse_topic(text: &str) -> Result<String, WrongSetting> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["arn", _, "sns", region, account, name] if ![region, account, name].iter().any(|part| part.is_empty()) => {
            Ok(text.to_owned())
        }
        _ => Err(WrongSetting::new("ses_topic", format!("{text:?}"), "arn:aws:sns:REGION:ACCOUNT:NAME")),
    }
}

fn parse_secret(text: &str) -> Result<String, WrongSetting> {
    let found = "something else";
    let allowed = format!("USER:PASSWORD, the password {SHORTEST} characters or more");
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && password.len() >= SHORTEST => Ok(text.to_owned()),
        _ => Err(WrongSetting::new("postmark_secret", found, allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_off_unless_they_are_set_and_set_as_a_whole() {
        let set = |topic, secret| Providers::from_settings(topic, secret).map(|_| ());
        assert_eq!(set(None, None), Ok(()));
        assert_eq!(set(Some("arn:aws:sns:eu-west-1:123456789012:bounces"), Some("postmark:0123456789abcdef")), Ok(()));
        for wrong in ["", "bounces", "arn:aws:sqs:eu-west-1:1:bounces", "arn:aws:sns:eu-west-1:1:"] {
            assert!(set(Some(wrong), None).is_err(), "{wrong}");
        }
        for wrong in ["", "secret", ":0123456789abcdef", "postmark:short"] {
            let refused = set(None, Some(wrong)).unwrap_err();
            assert!(!refused.to_string().contains("short"), "{refused}");
        }
    }
}
