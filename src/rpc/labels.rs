//! The names under which calls are counted and logged: ours alone, whatever a caller wrote.

use std::{collections::BTreeSet, sync::LazyLock};

use prost::Message;
use tonic::Code;

use super::proto::DESCRIPTORS;

/// "CustomerService/GetCustomer" and so on: every method of the contract.
static METHODS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let contract = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let services = contract.file.iter().filter(|file| file.package() == super::DOMAIN).flat_map(|file| &file.service);
    services
        .flat_map(|service| service.method.iter().map(move |method| format!("{}/{}", service.name(), method.name())))
        .collect()
});

/// The codes by their numbers, as gRPC spells them.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The method that a caller means by "Service/Method"; "unknown" if there is none.
pub fn method(called: &str) -> &'static str {
    METHODS.get(called).map_or("unknown", String::as_str)
}

/// The name of a code.
pub fn code(code: Code) -> &'static str {
    usize::try_from(i32::from(code)).ok().and_then(|number| CODES.get(number)).copied().unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_of_the_contract_have_names() {
        assert_eq!(method("EventService/RecordEvent"), "EventService/RecordEvent");
        assert_eq!(method("EventService/anna@example.com"), "unknown");
        assert!(METHODS.len() > 30);
    }

    #[test]
    fn codes_are_spelled_as_grpc_spells_them() {
        assert_eq!(code(Code::Ok), "OK");
        assert_eq!(code(Code::FailedPrecondition), "FAILED_PRECONDITION");
        assert_eq!(code(Code::Unauthenticated), "UNAUTHENTICATED");
    }
}
