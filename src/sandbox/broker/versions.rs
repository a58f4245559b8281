//! Which APIs this broker has, in which versions, and what their requests look like.

use std::fmt;

use super::shape::Kind::{Blob, Fixed, Struct, Structs, Text, Texts, Values};
use super::shape::{Field, Shape};

/// One API of the broker.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    /// The versions that are served, both inclusive.
    pub(super) min: i16,
    pub(super) max: i16,
    pub(super) shape: Shape,
    /// The highest version of Kafka 1.0.1; -1 where it lacks the API in any version served here.
    max_1_0_1: i16,
}

impl Api {
    /// Whether version `version` of this API has compact lengths and tagged fields, in its headers too.
    pub(super) const fn is_flexible(&self, version: i16) -> bool {
        version >= self.shape.flexible_from
    }
}

/// Keys of the APIs, as the protocol numbers them.
pub(super) mod key {
    pub(in super::super) const PRODUCE: i16 = 0;
    pub(in super::super) const FETCH: i16 = 1;
    pub(in super::super) const LIST_OFFSETS: i16 = 2;
    pub(in super::super) const METADATA: i16 = 3;
    pub(in super::super) const OFFSET_COMMIT: i16 = 8;
    pub(in super::super) const OFFSET_FETCH: i16 = 9;
    pub(in super::super) const FIND_COORDINATOR: i16 = 10;
    pub(in super::super) const JOIN_GROUP: i16 = 11;
    pub(in super::super) const HEARTBEAT: i16 = 12;
    pub(in super::super) const LEAVE_GROUP: i16 = 13;
    pub(in super::super) const SYNC_GROUP: i16 = 14;
    pub(in super::super) const DESCRIBE_GROUPS: i16 = 15;
    pub(in super::super) const LIST_GROUPS: i16 = 16;
    pub(in super::super) const API_VERSIONS: i16 = 18;
    pub(in super::super) const CREATE_TOPICS: i16 = 19;
    pub(in super::super) const DELETE_TOPICS: i16 = 20;
    pub(in super::super) const DELETE_RECORDS: i16 = 21;
    pub(in super::super) const INIT_PRODUCER_ID: i16 = 22;
    pub(in super::super) const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
    pub(in super::super) const DESCRIBE_CONFIGS: i16 = 32;
    pub(in super::super) const DESCRIBE_CLUSTER: i16 = 60;
}

/// Every API served, in the order of the keys.
pub(super) const APIS: &[Api] = &[
    Api { key: key::PRODUCE, min: 3, max: 13, max_1_0_1: 5, shape: PRODUCE },
    Api { key: key::FETCH, min: 4, max: 18, max_1_0_1: 6, shape: FETCH },
    Api { key: key::LIST_OFFSETS, min: 0, max: 10, max_1_0_1: 2, shape: LIST_OFFSETS },
    Api { key: key::METADATA, min: 0, max: 13, max_1_0_1: 5, shape: METADATA },
    Api { key: key::OFFSET_COMMIT, min: 2, max: 9, max_1_0_1: 3, shape: OFFSET_COMMIT },
    Api { key: key::OFFSET_FETCH, min: 1, max: 9, max_1_0_1: 3, shape: OFFSET_FETCH },
    Api { key: key::FIND_COORDINATOR, min: 0, max: 6, max_1_0_1: 1, shape: FIND_COORDINATOR },
    Api { key: key::JOIN_GROUP, min: 0, max: 9, max_1_0_1: 2, shape: JOIN_GROUP },
    Api { key: key::HEARTBEAT, min: 0, max: 4, max_1_0_1: 1, shape: HEARTBEAT },
    Api { key: key::LEAVE_GROUP, min: 0, max: 5, max_1_0_1: 1, shape: LEAVE_GROUP },
    Api { key: key::SYNC_GROUP, min: 0, max: 5, max_1_0_1: 1, shape: SYNC_GROUP },
    Api { key: key::DESCRIBE_GROUPS, min: 0, max: 6, max_1_0_1: 1, shape: DESCRIBE_GROUPS },
    Api { key: key::LIST_GROUPS, min: 0, max: 5, max_1_0_1: 1, shape: LIST_GROUPS },
    Api { key: key::API_VERSIONS, min: 0, max: 4, max_1_0_1: 1, shape: API_VERSIONS },
    Api { key: key::CREATE_TOPICS, min: 2, max: 7, max_1_0_1: 2, shape: CREATE_TOPICS },
    Api { key: key::DELETE_TOPICS, min: 1, max: 6, max_1_0_1: 1, shape: DELETE_TOPICS },
    Api { key: key::DELETE_RECORDS, min: 0, max: 2, max_1_0_1: 0, shape: DELETE_RECORDS },
    Api { key: key::INIT_PRODUCER_ID, min: 0, max: 5, max_1_0_1: 0, shape: INIT_PRODUCER_ID },
    Api { key: key::OFFSET_FOR_LEADER_EPOCH, min: 2, max: 4, max_1_0_1: -1, shape: OFFSET_FOR_LEADER_EPOCH },
    Api { key: key::DESCRIBE_CONFIGS, min: 1, max: 4, max_1_0_1: -1, shape: DESCRIBE_CONFIGS },
    Api { key: key::DESCRIBE_CLUSTER, min: 0, max: 2, max_1_0_1: -1, shape: DESCRIBE_CLUSTER },
];

/// Which Kafka release the broker presents itself as: the versions of its APIs, and what changed in behaviour with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KafkaVersion {
    /// Everything this broker can do; the answers of a 4.x broker in KRaft mode.
    #[default]
    Latest,
    /// Kafka 1.0.1: record batches v2, no fetch sessions, no leader epochs, topics created by the controller only.
    V1_0_1,
}

impl KafkaVersion {
    /// The names [`KafkaVersion::parse`] takes.
    pub const NAMES: &'static [&'static str] = &["latest", "1.0.1"];

    /// The release called `name`, one of [`KafkaVersion::NAMES`].
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "latest" => Some(Self::Latest),
            "1.0.1" => Some(Self::V1_0_1),
            _ => None,
        }
    }

    /// The versions of `api` this release has, both inclusive; `None` when it has none.
    pub(super) fn range(self, api: &Api) -> Option<(i16, i16)> {
        let max = match self {
            Self::Latest => api.max,
            Self::V1_0_1 => api.max.min(api.max_1_0_1),
        };
        (api.min <= max).then_some((api.min, max))
    }

    /// Whether only the controller takes admin requests; since KRaft every broker forwards them (KIP-590).
    pub(super) fn admin_needs_controller(self) -> bool {
        self == Self::V1_0_1
    }

    /// Whether an ApiVersions request of an unknown version is told the known ones (KIP-511, since 2.4).
    pub(super) fn names_api_versions_range(self) -> bool {
        self != Self::V1_0_1
    }
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "latest",
            Self::V1_0_1 => "1.0.1",
        })
    }
}

/// The API with key `key`, if it is served.
pub(super) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

// The shapes below follow the message definitions of Apache Kafka, `clients/src/main/resources/common/message/*.json`,
// from the lowest version served.

const PRODUCE: Shape = Shape {
    flexible_from: 9,
    fields: &[
        Field::always(Text),
        Field::always(Fixed(2)),
        Field::always(Fixed(4)),
        Field::always(Structs(&[
            Field::between(0, 12, Text),
            Field::since(13, Fixed(16)),
            Field::always(Structs(&[Field::always(Fixed(4)), Field::always(Blob)])),
        ])),
    ],
};

const FETCH: Shape = Shape {
    flexible_from: 12,
    fields: &[
        Field::between(0, 14, Fixed(4)),
        Field::always(Fixed(4)),
        Field::always(Fixed(4)),
        Field::always(Fixed(4)),
        Field::always(Fixed(1)),
        Field::since(7, Fixed(4)),
        Field::since(7, Fixed(4)),
        Field::always(Structs(&[
            Field::between(0, 12, Text),
            Field::since(13, Fixed(16)),
            Field::always(Structs(&[
                Field::always(Fixed(4)),
                Field::since(9, Fixed(4)),
                Field::always(Fixed(8)),
                Field::since(12, Fixed(4)),
                Field::since(5, Fixed(8)),
                Field::always(Fixed(4)),
                Field::tagged(0, Fixed(16)),
                Field::tagged(1, Fixed(8)),
            ])),
        ])),
        Field::since(7, Structs(&[Field::between(0, 12, Text), Field::since(13, Fixed(16)), Field::always(Values(4))])),
        Field::since(11, Text),
        Field::tagged(0, Text),
        Field::tagged(1, Struct(&[Field::always(Fixed(4)), Field::always(Fixed(8))])),
    ],
};

const LIST_OFFSETS: Shape = Shape {
    flexible_from: 6,
    fields: &[
        Field::always(Fixed(4)),
        Field::since(2, Fixed(1)),
        Field::always(Structs(&[
            Field::always(Text),
            Field::always(Structs(&[
                Field::always(Fixed(4)),
                Field::since(4, Fixed(4)),
                Field::always(Fixed(8)),
                Field::between(0, 0, Fixed(4)),
            ])),
        ])),
        Field::since(10, Fixed(4)),
    ],
};

const METADATA: Shape = Shape {
    flexible_from: 9,
    fields: &[
        Field::always(Structs(&[Field::since(10, Fixed(16)), Field::always(Text)])),
        Field::since(4, Fixed(1)),
        Field::between(8, 10, Fixed(1)),
        Field::since(8, Fixed(1)),
    ],
};

const OFFSET_COMMIT: Shape = Shape {
    flexible_from: 8,
    fields: &[
        Field::always(Text),
        Field::always(Fixed(4)),
        Field::always(Text),
        Field::since(7, Text),
        Field::between(2, 4, Fixed(8)),
        Field::always(Structs(&[
            Field::always(Text),
            Field::always(Structs(&[
                Field::always(Fixed(4)),
                Field::always(Fixed(8)),
                Field::since(6, Fixed(4)),
                Field::always(Text),
            ])),
        ])),
    ],
};

const OFFSET_FETCH: Shape = Shape {
    flexible_from: 6,
    fields: &[
        Field::between(0, 7, Text),
        Field::between(0, 7, Structs(&[Field::always(Text), Field::always(Values(4))])),
        Field::since(
            8,
            Structs(&[
                Field::always(Text),
                Field::since(9, Text),
                Field::since(9, Fixed(4)),
                Field::always(Structs(&[Field::always(Text), Field::always(Values(4))])),
            ]),
        ),
        Field::since(7, Fixed(1)),
    ],
};

const FIND_COORDINATOR: Shape = Shape {
    flexible_from: 3,
    fields: &[Field::between(0, 3, Text), Field::since(1, Fixed(1)), Field::since(4, Texts)],
};

const JOIN_GROUP: Shape = Shape {
    flexible_from: 6,
    fields: &[
        Field::always(Text),
        Field::always(Fixed(4)),
        Field::since(1, Fixed(4)),
        Field::always(Text),
        Field::since(5, Text),
        Field::always(Text),
        Field::always(Structs(&[Field::always(Text), Field::always(Blob)])),
        Field::since(8, Text),
    ],
};

const HEARTBEAT: Shape = Shape {
    flexible_from: 4,
    fields: &[Field::always(Text), Field::always(Fixed(4)), Field::always(Text), Field::since(3, Text)],
};

const LEAVE_GROUP: Shape = Shape {
    flexible_from: 4,
    fields: &[
        Field::always(Text),
        Field::between(0, 2, Text),
        Field::since(3, Structs(&[Field::always(Text), Field::always(Text), Field::since(5, Text)])),
    ],
};

const SYNC_GROUP: Shape = Shape {
    flexible_from: 4,
    fields: &[
        Field::always(Text),
        Field::always(Fixed(4)),
        Field::always(Text),
        Field::since(3, Text),
        Field::since(5, Text),
        Field::since(5, Text),
        Field::always(Structs(&[Field::always(Text), Field::always(Blob)])),
    ],
};

const DESCRIBE_GROUPS: Shape = Shape { flexible_from: 5, fields: &[Field::always(Texts), Field::since(3, Fixed(1))] };

const LIST_GROUPS: Shape = Shape { flexible_from: 3, fields: &[Field::since(4, Texts), Field::since(5, Texts)] };

const API_VERSIONS: Shape = Shape { flexible_from: 3, fields: &[Field::since(3, Text), Field::since(3, Text)] };

const CREATE_TOPICS: Shape = Shape {
    flexible_from: 5,
    fields: &[
        Field::always(Structs(&[
            Field::always(Text),
            Field::always(Fixed(4)),
            Field::always(Fixed(2)),
            Field::always(Structs(&[Field::always(Fixed(4)), Field::always(Values(4))])),
            Field::always(Structs(&[Field::always(Text), Field::always(Text)])),
        ])),
        Field::always(Fixed(4)),
        Field::always(Fixed(1)),
    ],
};

const DELETE_TOPICS: Shape = Shape {
    flexible_from: 4,
    fields: &[
        Field::since(6, Structs(&[Field::always(Text), Field::always(Fixed(16))])),
        Field::between(0, 5, Texts),
        Field::always(Fixed(4)),
    ],
};

const DELETE_RECORDS: Shape = Shape {
    flexible_from: 2,
    fields: &[
        Field::always(Structs(&[
            Field::always(Text),
            Field::always(Structs(&[Field::always(Fixed(4)), Field::always(Fixed(8))])),
        ])),
        Field::always(Fixed(4)),
    ],
};

const INIT_PRODUCER_ID: Shape = Shape {
    flexible_from: 2,
    fields: &[Field::always(Text), Field::always(Fixed(4)), Field::since(3, Fixed(8)), Field::since(3, Fixed(2))],
};

const OFFSET_FOR_LEADER_EPOCH: Shape = Shape {
    flexible_from: 4,
    fields: &[
        Field::since(3, Fixed(4)),
        Field::always(Structs(&[
            Field::always(Text),
            Field::always(Structs(&[Field::always(Fixed(4)), Field::always(Fixed(4)), Field::always(Fixed(4))])),
        ])),
    ],
};

const DESCRIBE_CONFIGS: Shape = Shape {
    flexible_from: 4,
    fields: &[
        Field::always(Structs(&[Field::always(Fixed(1)), Field::always(Text), Field::always(Texts)])),
        Field::always(Fixed(1)),
        Field::since(3, Fixed(1)),
    ],
};

const DESCRIBE_CLUSTER: Shape = Shape {
    flexible_from: 0,
    fields: &[Field::always(Fixed(1)), Field::since(1, Fixed(1)), Field::since(2, Fixed(1))],
};
