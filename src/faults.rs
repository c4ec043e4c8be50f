//! Faults planted in the cores, to show that the tests would see them. Only the test build
//! (feature `faults`) can switch one on; without it every question is a constant `false`.

use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    AckBeforeFsync,
    DropWhenFull,
    SettleBeforeDelivery,
    ReorderOnRetry,
    ForgetId,
}

impl Fault {
    pub const ALL: [Self; 5] = [
        Self::AckBeforeFsync,
        Self::DropWhenFull,
        Self::SettleBeforeDelivery,
        Self::ReorderOnRetry,
        Self::ForgetId,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::DropWhenFull => "drop-when-full",
            Self::SettleBeforeDelivery => "settle-before-delivery",
            Self::ReorderOnRetry => "reorder-on-retry",
            Self::ForgetId => "forget-id",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is named {0:?}")]
pub struct UnknownFault(String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.as_str() == name);
        found.ok_or_else(|| UnknownFault(name.to_owned()))
    }
}

/// Which fault is switched on, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    #[cfg(feature = "faults")]
    planted: Option<Fault>,
}

#[cfg(feature = "faults")]
impl Faults {
    #[must_use]
    pub const fn none() -> Self {
        Self { planted: None }
    }

    #[must_use]
    pub const fn only(fault: Fault) -> Self {
        Self {
            planted: Some(fault),
        }
    }

    const fn has(self, fault: Fault) -> bool {
        match self.planted {
            Some(planted) => planted as u8 == fault as u8,
            None => false,
        }
    }
}

#[cfg(not(feature = "faults"))]
impl Faults {
    #[must_use]
    pub const fn none() -> Self {
        Self {}
    }

    #[expect(clippy::unused_self, reason = "the same shape as in the test build")]
    const fn has(self, _: Fault) -> bool {
        false
    }
}

impl Faults {
    /// A receipt is sent before the batch is synced.
    #[must_use]
    pub const fn ack_before_fsync(self) -> bool {
        self.has(Fault::AckBeforeFsync)
    }

    /// At a full backlog the envelope is acknowledged and forgotten.
    #[must_use]
    pub const fn drop_when_full(self) -> bool {
        self.has(Fault::DropWhenFull)
    }

    /// A lane settles a delivery when it starts to attempt it.
    #[must_use]
    pub const fn settle_before_delivery(self) -> bool {
        self.has(Fault::SettleBeforeDelivery)
    }

    /// A retrying delivery doesn't hold the later ones of its key.
    #[must_use]
    pub const fn reorder_on_retry(self) -> bool {
        self.has(Fault::ReorderOnRetry)
    }

    /// An accepted id doesn't enter the dedup window.
    #[must_use]
    pub const fn forget_id(self) -> bool {
        self.has(Fault::ForgetId)
    }
}
