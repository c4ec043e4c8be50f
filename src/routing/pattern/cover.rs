//! What a pattern surely does, whatever the topic: for advice on routes, before anything is published.

use super::{Level, Pattern};

impl Pattern {
    /// Whether every topic that `other` matches is matched by this one too. `false` may mean that it
    /// can't be told.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (own, other) = (ordered(&self.levels), ordered(&other.levels));
        // A leading wildcard never matches `$…`, and `other` might.
        let starts_with_wildcard = !matches!(own[0], Level::Literal(_));
        if starts_with_wildcard
            && let Level::Literal(literal) = other[0]
            && literal.starts_with('$')
        {
            return false;
        }
        covers_levels(&own, &other)
    }

    /// So many levels a topic has at least that this matches.
    #[must_use]
    pub fn least_levels(&self) -> usize {
        let levels = self.levels.iter();
        // No topic is without a level.
        levels.filter(|level| **level != Level::Many).count().max(1)
    }

    /// And so many bytes.
    #[must_use]
    pub fn least_bytes(&self) -> usize {
        let literal_bytes: usize = self
            .levels
            .iter()
            .map(|level| match level {
                Level::Literal(literal) => literal.len(),
                _ => 0,
            })
            .sum();
        literal_bytes + self.least_levels() - 1
    }

    /// Whether a level must be empty: `a//b`.
    #[must_use]
    pub fn has_empty_level(&self) -> bool {
        self.levels
            .iter()
            .any(|level| matches!(level, Level::Literal(literal) if literal.is_empty()))
    }
}

/// Of wildcards beside each other the `#` is put last, and once: `#/+` matches what `+/#` does.
fn ordered(levels: &[Level]) -> Vec<&Level> {
    let mut ordered = Vec::with_capacity(levels.len());
    let mut many = None;
    for level in levels {
        match level {
            Level::Many => many = Some(level),
            Level::One | Level::Named(_) => ordered.push(level),
            Level::Literal(_) => {
                ordered.extend(many.take());
                ordered.push(level);
            }
        }
    }
    ordered.extend(many);
    ordered
}

/// Like the matching of a topic, whose levels are those of the other pattern: what stands for any
/// level is taken by a wildcard only, and its `#` by a `#` only.
fn covers_levels(own: &[&Level], other: &[&Level]) -> bool {
    let (mut at_own, mut at_other) = (0, 0);
    // (the level after the last `#`, the first level that this `#` doesn't take)
    let mut retry: Option<(usize, usize)> = None;
    while at_other < other.len() || at_own < own.len() {
        let step = match (own.get(at_own), other.get(at_other)) {
            (Some(Level::Many), _) => {
                at_own += 1;
                retry = Some((at_own, at_other));
                continue;
            }
            (Some(Level::One | Level::Named(_)), Some(Level::One | Level::Named(_))) => true,
            (Some(Level::One | Level::Named(_)), Some(Level::Literal(_))) => true,
            (Some(Level::Literal(a)), Some(Level::Literal(b))) => a == b,
            _ => false,
        };
        if step {
            (at_own, at_other) = (at_own + 1, at_other + 1);
            continue;
        }
        match &mut retry {
            Some((level, part)) if *part < other.len() => {
                *part += 1;
                (at_own, at_other) = (*level, *part);
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pattern, random_pattern, random_topic};

    #[test]
    fn covering_by_example() {
        for (own, covered) in [
            ("#", "a"),
            ("#", "a/+/#"),
            ("#", "+"),
            ("#", "#"),
            ("a/#", "a"),
            ("a/#", "a/b/{x}"),
            ("a/+", "a/{x}"),
            ("a/{x}", "a/b"),
            ("+/#", "#/+"),
            ("#/+/#", "+"),
            ("+/+/#", "+/#/+"),
            ("a/#/z", "a/b/#/z"),
            ("#/z", "#/y/z"),
            ("$a/#", "$a/b"),
            ("a/b", "a/b"),
        ] {
            assert!(pattern(own).covers(&pattern(covered)), "{own} {covered}");
        }
        for (own, other) in [
            ("a", "b"),
            ("a/+", "a"),
            ("a/+", "a/#"),
            ("+", "#"),
            ("a/b", "a/+"),
            ("#", "$a"),
            ("#/b", "$a/b"),
            ("+/b", "$a/b"),
            ("a/#/z", "a/#"),
            ("a/+/#", "a/#"),
        ] {
            assert!(!pattern(own).covers(&pattern(other)), "{own} {other}");
        }
    }

    /// `true` is never wrong, and `false` seldom where the two are alike.
    #[test]
    fn what_is_covered_is_matched() {
        let mut covered = 0;
        for seed in 0..30_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (own, other) = (random_pattern(&mut random), random_pattern(&mut random));
            if own.is_empty() || other.is_empty() {
                continue;
            }
            let (own, other) = (pattern(&own), pattern(&other));
            assert!(own.covers(&own), "seed {seed}: {own}");
            if !own.covers(&other) {
                continue;
            }
            covered += 1;
            for _ in 0..40 {
                let topic = random_topic(&mut random);
                assert!(
                    !other.matches(&topic) || own.matches(&topic),
                    "seed {seed}: {own} doesn't cover {other}: {topic}"
                );
            }
        }
        assert!(covered > 2_000, "only {covered} are covered");
    }

    #[test]
    fn what_is_matched_is_no_smaller_than_the_least() {
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (text, topic) = (random_pattern(&mut random), random_topic(&mut random));
            if text.is_empty() {
                continue;
            }
            let pattern = pattern(&text);
            if pattern.matches(&topic) {
                let levels = topic.split('/').count();
                assert!(
                    levels >= pattern.least_levels(),
                    "seed {seed}: {text} {topic}"
                );
                assert!(
                    topic.len() >= pattern.least_bytes(),
                    "seed {seed}: {text} {topic}"
                );
                let is_empty = topic.split('/').any(str::is_empty);
                assert!(
                    is_empty || !pattern.has_empty_level(),
                    "seed {seed}: {text}"
                );
            }
        }
    }
}
