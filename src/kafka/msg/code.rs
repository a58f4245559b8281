//! Error codes of brokers, their names, and what a client does about them.

use std::fmt;

/// An error code as it stands on the wire; 0 is success. Codes that this table does not know are kept and are fatal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(
    /// The number.
    pub i16,
);

/// What a client does about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeClass {
    /// Success.
    None,
    /// Ask the same broker again after a pause.
    Retry,
    /// The cluster has moved: fetch metadata, then ask again.
    Refresh,
    /// The group's coordinator has moved: find it, then ask again.
    Coordinator,
    /// The group has moved on: the member must join again.
    Rejoin,
    /// The broker refuses this user.
    Auth,
    /// Asking again will not help.
    Fatal,
}

impl ErrorCode {
    /// Kafka's name, such as `NOT_LEADER_OR_FOLLOWER`; none for a number this table does not have.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(_, name, _)| *name)
    }

    /// What to do about it.
    pub fn class(self) -> CodeClass {
        self.entry().map_or(CodeClass::Fatal, |(_, _, class)| *class)
    }

    /// Whether this is success.
    pub fn is_ok(self) -> bool {
        self == Self::NONE
    }

    /// Whether asking again, perhaps somewhere else, may succeed.
    pub fn is_retriable(self) -> bool {
        matches!(self.class(), CodeClass::Retry | CodeClass::Refresh | CodeClass::Coordinator)
    }

    fn entry(self) -> Option<&'static (i16, &'static str, CodeClass)> {
        let at = CODES.binary_search_by_key(&self.0, |(code, _, _)| *code).ok()?;
        CODES.get(at)
    }
}

impl fmt::Display for ErrorCode {
    /// `NOT_LEADER_OR_FOLLOWER (6)`, or `error code 999`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error code {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! codes {
    ($($code:literal $name:ident $class:ident,)*) => {
        #[allow(missing_docs, reason = "the names are Kafka's; the protocol guide's error table describes them")]
        impl ErrorCode {
            $(pub const $name: Self = Self($code);)*
        }

        /// In ascending order, for the binary search.
        const CODES: &[(i16, &str, CodeClass)] = &[$(($code, stringify!($name), CodeClass::$class),)*];
    };
}

// Names and numbers: "Kafka protocol guide", error codes. The class is ours; where Kafka marks a code as retriable it is
// Retry, Refresh or Coordinator here.
codes! {
    -1 UNKNOWN_SERVER_ERROR Retry,
    0 NONE None,
    1 OFFSET_OUT_OF_RANGE Fatal,
    2 CORRUPT_MESSAGE Retry,
    3 UNKNOWN_TOPIC_OR_PARTITION Refresh,
    4 INVALID_FETCH_SIZE Fatal,
    5 LEADER_NOT_AVAILABLE Refresh,
    6 NOT_LEADER_OR_FOLLOWER Refresh,
    7 REQUEST_TIMED_OUT Retry,
    8 BROKER_NOT_AVAILABLE Refresh,
    9 REPLICA_NOT_AVAILABLE Refresh,
    10 MESSAGE_TOO_LARGE Fatal,
    11 STALE_CONTROLLER_EPOCH Fatal,
    12 OFFSET_METADATA_TOO_LARGE Fatal,
    13 NETWORK_EXCEPTION Refresh,
    14 COORDINATOR_LOAD_IN_PROGRESS Retry,
    15 COORDINATOR_NOT_AVAILABLE Coordinator,
    16 NOT_COORDINATOR Coordinator,
    17 INVALID_TOPIC_EXCEPTION Fatal,
    18 RECORD_LIST_TOO_LARGE Fatal,
    19 NOT_ENOUGH_REPLICAS Retry,
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND Retry,
    21 INVALID_REQUIRED_ACKS Fatal,
    22 ILLEGAL_GENERATION Rejoin,
    23 INCONSISTENT_GROUP_PROTOCOL Fatal,
    24 INVALID_GROUP_ID Fatal,
    25 UNKNOWN_MEMBER_ID Rejoin,
    26 INVALID_SESSION_TIMEOUT Fatal,
    27 REBALANCE_IN_PROGRESS Rejoin,
    28 INVALID_COMMIT_OFFSET_SIZE Fatal,
    29 TOPIC_AUTHORIZATION_FAILED Auth,
    30 GROUP_AUTHORIZATION_FAILED Auth,
    31 CLUSTER_AUTHORIZATION_FAILED Auth,
    32 INVALID_TIMESTAMP Fatal,
    33 UNSUPPORTED_SASL_MECHANISM Auth,
    34 ILLEGAL_SASL_STATE Auth,
    35 UNSUPPORTED_VERSION Fatal,
    36 TOPIC_ALREADY_EXISTS Fatal,
    37 INVALID_PARTITIONS Fatal,
    38 INVALID_REPLICATION_FACTOR Fatal,
    39 INVALID_REPLICA_ASSIGNMENT Fatal,
    40 INVALID_CONFIG Fatal,
    41 NOT_CONTROLLER Refresh,
    42 INVALID_REQUEST Fatal,
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT Fatal,
    44 POLICY_VIOLATION Fatal,
    45 OUT_OF_ORDER_SEQUENCE_NUMBER Fatal,
    46 DUPLICATE_SEQUENCE_NUMBER Fatal,
    47 INVALID_PRODUCER_EPOCH Fatal,
    48 INVALID_TXN_STATE Fatal,
    49 INVALID_PRODUCER_ID_MAPPING Fatal,
    50 INVALID_TRANSACTION_TIMEOUT Fatal,
    51 CONCURRENT_TRANSACTIONS Retry,
    52 TRANSACTION_COORDINATOR_FENCED Fatal,
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED Auth,
    54 SECURITY_DISABLED Fatal,
    55 OPERATION_NOT_ATTEMPTED Fatal,
    56 KAFKA_STORAGE_ERROR Refresh,
    57 LOG_DIR_NOT_FOUND Fatal,
    58 SASL_AUTHENTICATION_FAILED Auth,
    59 UNKNOWN_PRODUCER_ID Fatal,
    60 REASSIGNMENT_IN_PROGRESS Fatal,
    61 DELEGATION_TOKEN_AUTH_DISABLED Auth,
    62 DELEGATION_TOKEN_NOT_FOUND Auth,
    63 DELEGATION_TOKEN_OWNER_MISMATCH Auth,
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED Auth,
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED Auth,
    66 DELEGATION_TOKEN_EXPIRED Auth,
    67 INVALID_PRINCIPAL_TYPE Fatal,
    68 NON_EMPTY_GROUP Fatal,
    69 GROUP_ID_NOT_FOUND Fatal,
    70 FETCH_SESSION_ID_NOT_FOUND Retry,
    71 INVALID_FETCH_SESSION_EPOCH Retry,
    72 LISTENER_NOT_FOUND Refresh,
    73 TOPIC_DELETION_DISABLED Fatal,
    74 FENCED_LEADER_EPOCH Refresh,
    75 UNKNOWN_LEADER_EPOCH Refresh,
    76 UNSUPPORTED_COMPRESSION_TYPE Fatal,
    77 STALE_BROKER_EPOCH Fatal,
    78 OFFSET_NOT_AVAILABLE Refresh,
    79 MEMBER_ID_REQUIRED Rejoin,
    80 PREFERRED_LEADER_NOT_AVAILABLE Refresh,
    81 GROUP_MAX_SIZE_REACHED Fatal,
    82 FENCED_INSTANCE_ID Fatal,
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE Refresh,
    84 ELECTION_NOT_NEEDED Refresh,
    85 NO_REASSIGNMENT_IN_PROGRESS Fatal,
    86 GROUP_SUBSCRIBED_TO_TOPIC Fatal,
    87 INVALID_RECORD Fatal,
    88 UNSTABLE_OFFSET_COMMIT Retry,
    89 THROTTLING_QUOTA_EXCEEDED Retry,
    90 PRODUCER_FENCED Fatal,
    91 RESOURCE_NOT_FOUND Fatal,
    92 DUPLICATE_RESOURCE Fatal,
    93 UNACCEPTABLE_CREDENTIAL Auth,
    94 INCONSISTENT_VOTER_SET Fatal,
    95 INVALID_UPDATE_VERSION Fatal,
    96 FEATURE_UPDATE_FAILED Fatal,
    97 PRINCIPAL_DESERIALIZATION_FAILURE Fatal,
    98 SNAPSHOT_NOT_FOUND Fatal,
    99 POSITION_OUT_OF_RANGE Fatal,
    100 UNKNOWN_TOPIC_ID Refresh,
    101 DUPLICATE_BROKER_REGISTRATION Fatal,
    102 BROKER_ID_NOT_REGISTERED Fatal,
    103 INCONSISTENT_TOPIC_ID Refresh,
    104 INCONSISTENT_CLUSTER_ID Fatal,
    105 TRANSACTIONAL_ID_NOT_FOUND Fatal,
    106 FETCH_SESSION_TOPIC_ID_ERROR Retry,
    107 INELIGIBLE_REPLICA Fatal,
    108 NEW_LEADER_ELECTED Fatal,
    109 OFFSET_MOVED_TO_TIERED_STORAGE Fatal,
    110 FENCED_MEMBER_EPOCH Rejoin,
    111 UNRELEASED_INSTANCE_ID Fatal,
    112 UNSUPPORTED_ASSIGNOR Fatal,
    113 STALE_MEMBER_EPOCH Rejoin,
    114 MISMATCHED_ENDPOINT_TYPE Fatal,
    115 UNSUPPORTED_ENDPOINT_TYPE Fatal,
    116 UNKNOWN_CONTROLLER_ID Fatal,
    117 UNKNOWN_SUBSCRIPTION_ID Fatal,
    118 TELEMETRY_TOO_LARGE Fatal,
    119 INVALID_REGISTRATION Fatal,
    120 TRANSACTION_ABORTABLE Fatal,
    121 INVALID_RECORD_STATE Fatal,
    122 SHARE_SESSION_NOT_FOUND Retry,
    123 INVALID_SHARE_SESSION_EPOCH Retry,
    124 FENCED_STATE_EPOCH Fatal,
    125 INVALID_VOTER_KEY Fatal,
    126 DUPLICATE_VOTER Fatal,
    127 VOTER_NOT_FOUND Fatal,
    128 INVALID_REGULAR_EXPRESSION Fatal,
    129 REBOOTSTRAP_REQUIRED Refresh,
    130 STREAMS_INVALID_TOPOLOGY Fatal,
    131 STREAMS_INVALID_TOPOLOGY_EPOCH Fatal,
    132 STREAMS_TOPOLOGY_FENCED Fatal,
    133 SHARE_SESSION_LIMIT_REACHED Retry,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_the_search_finds_every_entry() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, name, _) in CODES {
            assert_eq!(ErrorCode(*code).name(), Some(*name));
        }
    }

    #[test]
    fn unknown_numbers_are_fatal_and_show_their_number() {
        assert_eq!(ErrorCode(9999).class(), CodeClass::Fatal);
        assert_eq!(ErrorCode(9999).to_string(), "error code 9999");
        assert_eq!(ErrorCode(6).to_string(), "NOT_LEADER_OR_FOLLOWER (6)");
    }
}
