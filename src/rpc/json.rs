//! Messages as JSON, as the contract's own mapping has it.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;

use super::{DOMAIN, proto::DESCRIPTORS};

/// What the contract says about its messages.
static CONTRACT: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok());

/// A message of the contract, by its name there; the error is a sentence.
pub fn to_json(name: &str, message: &impl Message) -> Result<Value, String> {
    let unknown = || format!("no message {name}");
    let pool = CONTRACT.as_ref().ok_or_else(unknown)?;
    let described = pool.get_message_by_name(&format!("{DOMAIN}.{name}")).ok_or_else(unknown)?;
    let message = DynamicMessage::decode(described, message.encode_to_vec().as_slice());
    let message = message.map_err(|error| error.to_string())?;
    serde_json::to_value(message).map_err(|error| error.to_string())
}
