//! What every call has in common: the error contract, replay of a `request_id`, page tokens, field masks, deadlines.
//!
//! The generated code of the contract lives in [`proto`]; only this module, the adapters, the commands and the composition
//! root see it.

mod caller;
mod entity;
mod etag;
mod fault;
mod guard;
mod json;
mod labels;
mod mask;
mod order;
mod page;
mod requests;
mod status;
mod store;
mod violations;

pub use self::{
    caller::Caller,
    etag::{check_etag, etag},
    fault::{Fault, Reason, Refusal},
    guard::GuardLayer,
    json::to_json,
    mask::Mask,
    order::{Order, key as page_key},
    page::{Page, PageOf, PageTokens},
    requests::{Answered, Answers, Reply, RequestKey, forget_requests, forget_requests_about, oldest_request},
    status::reason_name,
    violations::Violations,
};

/// The generated code of the contract in `proto/`.
#[allow(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("rapport.v1");

    /// Every message and service with its comments, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rapport.binpb"));
}

/// The domain of every error reason and the name of the package.
pub const DOMAIN: &str = "rapport.v1";
