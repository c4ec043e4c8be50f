//! What programs tell faults apart by: the `reason` of an `ErrorInfo`. docs/GRPC.md has them all. They are the words
//! of HTTP's problem types, in upper case.

/// In the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    BacklogFull,
    BodyTimeout,
    Busy,
    Connections,
    ContentEncoding,
    ContentType,
    Deadline,
    DeadLettered,
    DedupFull,
    Discarded,
    EarlierRefused,
    ForeignHost,
    ForeignOrigin,
    HeadTooLarge,
    IdConflict,
    IdNeeded,
    Internal,
    InFlightFull,
    JournalFailed,
    JournalFull,
    Malformed,
    NoRoute,
    OffsetGone,
    OutcomePending,
    RouteRefused,
    Stopping,
    StreamFailed,
    Subscribers,
    TooLarge,
    TooMany,
    UnknownMessage,
    UnknownMethod,
    UnknownStream,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::BacklogFull => "BACKLOG_FULL",
            Self::BodyTimeout => "BODY_TIMEOUT",
            Self::Busy => "BUSY",
            Self::Connections => "CONNECTIONS",
            Self::ContentEncoding => "CONTENT_ENCODING",
            Self::ContentType => "CONTENT_TYPE",
            Self::Deadline => "DEADLINE",
            Self::DeadLettered => "DEAD_LETTERED",
            Self::DedupFull => "DEDUP_FULL",
            Self::Discarded => "DISCARDED",
            Self::EarlierRefused => "EARLIER_REFUSED",
            Self::ForeignHost => "FOREIGN_HOST",
            Self::ForeignOrigin => "FOREIGN_ORIGIN",
            Self::HeadTooLarge => "HEAD_TOO_LARGE",
            Self::IdConflict => "ID_CONFLICT",
            Self::IdNeeded => "ID_NEEDED",
            Self::Internal => "INTERNAL",
            Self::InFlightFull => "IN_FLIGHT_FULL",
            Self::JournalFailed => "JOURNAL_FAILED",
            Self::JournalFull => "JOURNAL_FULL",
            Self::Malformed => "MALFORMED",
            Self::NoRoute => "NO_ROUTE",
            Self::OffsetGone => "OFFSET_GONE",
            Self::OutcomePending => "OUTCOME_PENDING",
            Self::RouteRefused => "ROUTE_REFUSED",
            Self::Stopping => "STOPPING",
            Self::StreamFailed => "STREAM_FAILED",
            Self::Subscribers => "SUBSCRIBERS",
            Self::TooLarge => "TOO_LARGE",
            Self::TooMany => "TOO_MANY",
            Self::UnknownMessage => "UNKNOWN_MESSAGE",
            Self::UnknownMethod => "UNKNOWN_METHOD",
            Self::UnknownStream => "UNKNOWN_STREAM",
        }
    }

    #[cfg(test)]
    pub(super) const ALL: [Self; 33] = [
        Self::BacklogFull,
        Self::BodyTimeout,
        Self::Busy,
        Self::Connections,
        Self::ContentEncoding,
        Self::ContentType,
        Self::Deadline,
        Self::DeadLettered,
        Self::DedupFull,
        Self::Discarded,
        Self::EarlierRefused,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::HeadTooLarge,
        Self::IdConflict,
        Self::IdNeeded,
        Self::Internal,
        Self::InFlightFull,
        Self::JournalFailed,
        Self::JournalFull,
        Self::Malformed,
        Self::NoRoute,
        Self::OffsetGone,
        Self::OutcomePending,
        Self::RouteRefused,
        Self::Stopping,
        Self::StreamFailed,
        Self::Subscribers,
        Self::TooLarge,
        Self::TooMany,
        Self::UnknownMessage,
        Self::UnknownMethod,
        Self::UnknownStream,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_number_and_is_documented() {
        // Cargo runs tests in the package.
        let page = std::fs::read_to_string("docs/GRPC.md").expect("the page is there");
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason:?}");
            let name = format!("`{}`", reason.as_str());
            assert!(page.contains(&name), "docs/GRPC.md says nothing of {name}");
        }
    }
}
