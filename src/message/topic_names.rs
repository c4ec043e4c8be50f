//! What names of topics a destination knows. Pure.

/// Kafka's own limit.
const MAX_KAFKA_BYTES: usize = 249;

/// Said of a destination, for what is rendered for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicNames {
    #[default]
    Any,
    Kafka,
}

impl TopicNames {
    /// Why it knows no such name.
    ///
    /// # Errors
    /// In words, without the name.
    pub fn check(self, name: &str) -> Result<(), String> {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let is_known = match self {
            Self::Any => true,
            Self::Kafka => {
                (1..=MAX_KAFKA_BYTES).contains(&name.len())
                    && !matches!(name, "." | "..")
                    && name.bytes().all(is_legal)
            }
        };
        match is_known {
            true => Ok(()),
            false => Err(format!(
                "it is no name of a Kafka topic: those have 1 to {MAX_KAFKA_BYTES} letters, digits, `.`, `_` and `-`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kafka() {
        let long = "a".repeat(MAX_KAFKA_BYTES);
        for good in ["a", "Orders.eu_1-x", "...", &long] {
            assert_eq!(TopicNames::Kafka.check(good), Ok(()), "{good}");
        }
        let longer = format!("{long}a");
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", "a\n", &longer] {
            assert!(TopicNames::Kafka.check(bad).is_err(), "{bad}");
            assert_eq!(TopicNames::Any.check(bad), Ok(()));
        }
    }
}
