//! What names of topics a destination knows. Pure.

/// Kafka's own limit.
const MAX_KAFKA_BYTES: usize = 249;
/// Of a routing key, which is one of AMQP's short strings.
const MAX_RABBITMQ_BYTES: usize = 255;

/// Said of a destination, for what is rendered for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicNames {
    #[default]
    Any,
    Kafka,
    /// Routing keys.
    Rabbitmq,
}

impl TopicNames {
    /// Why it knows no such name.
    ///
    /// # Errors
    /// In words, without the name.
    pub fn check(self, name: &str) -> Result<(), String> {
        match self {
            Self::Any => Ok(()),
            Self::Kafka if is_of_kafka(name) => Ok(()),
            Self::Kafka => Err(format!(
                "it is no name of a Kafka topic: those have 1 to {MAX_KAFKA_BYTES} letters, digits, `.`, `_` and `-`"
            )),
            Self::Rabbitmq if name.len() <= MAX_RABBITMQ_BYTES => Ok(()),
            Self::Rabbitmq => Err(format!(
                "it has {} bytes, and RabbitMQ's routing keys have at most {MAX_RABBITMQ_BYTES}",
                name.len()
            )),
        }
    }
}

fn is_of_kafka(name: &str) -> bool {
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_KAFKA_BYTES).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(is_legal)
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

    #[test]
    fn routing_keys_are_short() {
        let long = "a".repeat(MAX_RABBITMQ_BYTES);
        for good in ["a", "a/b c", &long] {
            assert_eq!(TopicNames::Rabbitmq.check(good), Ok(()), "{good}");
        }
        let longer = "é".repeat(128);
        let why = "it has 256 bytes, and RabbitMQ's routing keys have at most 255";
        assert_eq!(TopicNames::Rabbitmq.check(&longer), Err(why.to_owned()));
    }
}
