//! What programs tell problems apart by: the end of their `type`. docs/HTTP.md has them all.

/// In the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BacklogFull,
    Batches,
    BodyTimeout,
    Busy,
    Connections,
    ContentEncoding,
    ContentType,
    DeadLettered,
    DeadLettersFailed,
    DedupFull,
    Discarded,
    DropFailed,
    DropRefused,
    EarlierRefused,
    EventReaders,
    ForeignHost,
    ForeignOrigin,
    HeadTooLarge,
    IdConflict,
    IdNeeded,
    InFlightFull,
    Internal,
    JournalFailed,
    JournalFull,
    Malformed,
    NoAnswer,
    NoRoute,
    OffsetGone,
    OutcomePending,
    RedriveRunning,
    ReloadRefused,
    RouteRefused,
    Stopping,
    StreamFailed,
    StreamPages,
    Taps,
    TooLarge,
    TooMany,
    UnknownDeadLetter,
    UnknownLane,
    UnknownMessage,
    UnknownMethod,
    UnknownPath,
    UnknownRedrive,
    UnknownStream,
}

impl Kind {
    pub const ALL: [Self; 45] = [
        Self::BacklogFull,
        Self::Batches,
        Self::BodyTimeout,
        Self::Busy,
        Self::Connections,
        Self::ContentEncoding,
        Self::ContentType,
        Self::DeadLettered,
        Self::DeadLettersFailed,
        Self::DedupFull,
        Self::Discarded,
        Self::DropFailed,
        Self::DropRefused,
        Self::EarlierRefused,
        Self::EventReaders,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::HeadTooLarge,
        Self::IdConflict,
        Self::IdNeeded,
        Self::InFlightFull,
        Self::Internal,
        Self::JournalFailed,
        Self::JournalFull,
        Self::Malformed,
        Self::NoAnswer,
        Self::NoRoute,
        Self::OffsetGone,
        Self::OutcomePending,
        Self::RedriveRunning,
        Self::ReloadRefused,
        Self::RouteRefused,
        Self::Stopping,
        Self::StreamFailed,
        Self::StreamPages,
        Self::Taps,
        Self::TooLarge,
        Self::TooMany,
        Self::UnknownDeadLetter,
        Self::UnknownLane,
        Self::UnknownMessage,
        Self::UnknownMethod,
        Self::UnknownPath,
        Self::UnknownRedrive,
        Self::UnknownStream,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BacklogFull => "backlog-full",
            Self::Batches => "batches",
            Self::BodyTimeout => "body-timeout",
            Self::Busy => "busy",
            Self::Connections => "connections",
            Self::ContentEncoding => "content-encoding",
            Self::ContentType => "content-type",
            Self::DeadLettered => "dead-lettered",
            Self::DeadLettersFailed => "dead-letters-failed",
            Self::DedupFull => "dedup-full",
            Self::Discarded => "discarded",
            Self::DropFailed => "drop-failed",
            Self::DropRefused => "drop-refused",
            Self::EarlierRefused => "earlier-refused",
            Self::EventReaders => "event-readers",
            Self::ForeignHost => "foreign-host",
            Self::ForeignOrigin => "foreign-origin",
            Self::HeadTooLarge => "head-too-large",
            Self::IdConflict => "id-conflict",
            Self::IdNeeded => "id-needed",
            Self::InFlightFull => "in-flight-full",
            Self::Internal => "internal",
            Self::JournalFailed => "journal-failed",
            Self::JournalFull => "journal-full",
            Self::Malformed => "malformed",
            Self::NoAnswer => "no-answer",
            Self::NoRoute => "no-route",
            Self::OffsetGone => "offset-gone",
            Self::OutcomePending => "outcome-pending",
            Self::RedriveRunning => "redrive-running",
            Self::ReloadRefused => "reload-refused",
            Self::RouteRefused => "route-refused",
            Self::Stopping => "stopping",
            Self::StreamFailed => "stream-failed",
            Self::StreamPages => "stream-pages",
            Self::Taps => "taps",
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::UnknownDeadLetter => "unknown-dead-letter",
            Self::UnknownLane => "unknown-lane",
            Self::UnknownMessage => "unknown-message",
            Self::UnknownMethod => "unknown-method",
            Self::UnknownPath => "unknown-path",
            Self::UnknownRedrive => "unknown-redrive",
            Self::UnknownStream => "unknown-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_number_and_is_documented() {
        // Cargo runs tests in the package.
        let page = std::fs::read_to_string("docs/HTTP.md").expect("the page is there");
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number, "{kind:?}");
            let name = format!("`{}`", kind.as_str());
            assert!(page.contains(&name), "docs/HTTP.md says nothing of {name}");
        }
    }
}
