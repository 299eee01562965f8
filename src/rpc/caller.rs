use tonic::metadata::MetadataMap;

use super::Violations;

/// Which service calls, as it says itself: until callers are authenticated, the scope of its request ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(String);

impl Caller {
    /// From the metadata `x-caller`: up to 64 printable characters; absent = "anonymous".
    pub fn from_metadata(metadata: &MetadataMap, violations: &mut Violations) -> Self {
        let Some(value) = metadata.get("x-caller") else {
            return Self("anonymous".to_owned());
        };
        match value.to_str() {
            Ok(name) if (1..=64).contains(&name.len()) => Self(name.to_owned()),
            _ => {
                violations.add("x-caller", "must be 1 to 64 printable ASCII characters");
                Self(String::new())
            }
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
