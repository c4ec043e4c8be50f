//! What happened in histories: they are worth something only if they visit the places that matter.

macro_rules! stats {
    ($($name:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Stats {
            $(pub $name: u64,)*
        }

        impl Stats {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// What never happened.
            pub fn missing(&self) -> Vec<&'static str> {
                let all = [$((stringify!($name), self.$name),)*];
                all.iter().filter(|(_, n)| *n == 0).map(|(name, _)| *name).collect()
            }
        }
    };
}

stats! {
    accepted,
    duplicates,
    duplicates_in_batch,
    duplicates_after_crash,
    derived_duplicates,
    conflicts,
    backlog_refusals,
    diverted,
    dedup_refusals,
    evictions,
    space_refusals,
    journal_failures,
    lane_failures,
    power_cuts,
    power_cuts_in_recovery,
    kills,
    clean_stops,
    ends_with_unsettled_work,
    torn_batches,
    doubts_kept,
    doubts_lost,
    settlements_kept,
    held_in_sinks,
    in_doubt_in_sinks,
    delivered,
    redelivered,
    retries,
    unknown,
    rejected,
    fatal,
    expired,
    delayed,
    dead_letters,
    hung,
    drops,
    trimmed,
    read_again,
    rolls,
    checkpoints,
    compactions,
    walks,
    lookups,
    filled,
    owed_when_full,
    drained_on_a_full_disk,
    settlements_out_of_room,
    dead_letters_out_of_room,
}
